"""Asking the platforms' APIs, where the seller has given a key: a module each, and what they share."""
