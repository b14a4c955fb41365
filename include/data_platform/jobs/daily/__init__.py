"""The daily pipeline between its tasks: which article a scraped row is, and batches that can be written again."""
