"""Connections to platforms: their secrets, the inbox of what they send, and its applying to orders."""
