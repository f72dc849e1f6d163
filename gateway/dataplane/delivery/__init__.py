"""Sending a plan: the bytes of a blob, framed as decided, to one client."""
