"""How fast and how small each page is that people open, beside many customers and downloads."""
