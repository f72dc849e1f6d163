"""Platforms whose webhooks are taken: a module each, one interface (`interface.py`), one table."""
