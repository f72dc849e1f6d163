"""Times as the APIs want them. Pure."""

from __future__ import annotations

from datetime import UTC, datetime


def to_rfc3339(milliseconds: int) -> str:
    """A time in RFC 3339, UTC, with whole seconds: rounded down."""
    return datetime.fromtimestamp(milliseconds // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
