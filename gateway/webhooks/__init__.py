"""Outgoing webhooks: what happened is told to the seller's programs, at least once, and never in the way."""
