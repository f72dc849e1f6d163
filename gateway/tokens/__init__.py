"""Tokens and API keys: claims and leases for the hot path, and repositories for the control plane."""
