"""Tokens: their form, the store that holds them, and the pipeline that asks it on the hot path."""
