"""Under which names the dashboard is reached: a page of another site must not pass for ours. Pure.

A page whose name leads to this machine (DNS rebinding) is of the same origin for a browser, which then sends
what our own pages may send. It cannot choose its Host field, though, and its name is none of these:

- an address, which no name server can give to somebody else;
- `localhost` and what ends with `.localhost` (RFC 6761 section 6.3);
- the name in the setting `dashboard_url`.
"""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit


def is_own_host(host: str, configured: str | None) -> bool:
    """Whether a Host field names us. configured: the setting `dashboard_url`."""
    name = _name(host)
    if not name:
        return False
    if name == "localhost" or name.endswith(".localhost") or _is_address(name):
        return True
    return configured is not None and name == (urlsplit(configured).hostname or "").lower()


def origin_of(host: str, configured: str | None, scheme: str = "http") -> str:
    """The origin that browsers have for a page that came under this Host field."""
    if configured is not None:
        parts = urlsplit(configured)
        if _name(host) == (parts.hostname or "").lower():
            return f"{parts.scheme}://{parts.netloc.lower()}"
    return f"{scheme}://{host.lower()}"


def _name(host: str) -> str:
    """The host without its port, in lower case; empty for what is no Host field."""
    if any(sign in host for sign in "/@?#\\ "):
        return ""
    try:
        return (urlsplit(f"//{host}").hostname or "").lower()
    except ValueError:
        return ""


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
