"""Two stores that shall hold the same: what one missed, and bringing it there."""
