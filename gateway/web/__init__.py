"""The `web` process (`service.py`, and the admin API in `api/`), and what it shares with the mint service."""
