"""Customers, orders and entitlements: what platforms tell (`facts.py`), and what follows from it."""
