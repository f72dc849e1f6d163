"""Deliveries: each sends one plan, with the bytes of its blobs, to one client."""
