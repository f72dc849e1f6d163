"""The mint service: a private HTTP API that issues tokens and registers products."""
