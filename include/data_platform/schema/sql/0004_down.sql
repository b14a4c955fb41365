-- Which values are approximate is forgotten here; the run ledger keeps it.
DROP TABLE news_enrichment;
