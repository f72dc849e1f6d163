"""The worker process, which answers download and authorisation requests."""
