"""The worker: what answers download and authorisation requests."""
