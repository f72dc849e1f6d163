"""The admin API: tokens, products and versions, for operators and their scripts."""
