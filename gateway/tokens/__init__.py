"""Tokens and API keys: claims and leases on the hot path; creating, reading and changing them off it."""
