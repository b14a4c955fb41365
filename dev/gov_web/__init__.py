"""Look-alikes of the sites that the scraper reads: made-up articles, and pages of every layout that show them."""
