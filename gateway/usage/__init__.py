"""Usage: what requests really sent, what that adds up to, and what sellers are shown of it."""
