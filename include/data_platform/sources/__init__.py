"""Reading rows that others wrote: files on disk or on the Hub, in any physical form."""
