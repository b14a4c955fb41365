"""Collecting the news of the sites: pages fetched politely, read in every layout met, turned into rows."""
