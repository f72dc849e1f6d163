"""The mint service: a private HTTP API of one URL that makes download URLs, and needs Redis only."""
