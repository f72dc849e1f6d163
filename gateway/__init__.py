"""A download gateway: tokens checked against Redis, files streamed with ranges, resume and exact limits."""

__version__ = "0.1.0"
