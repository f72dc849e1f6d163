"""What came out: figures and targets, percentiles, tables, and the page."""
