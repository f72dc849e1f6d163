"""Whether a request that changes something comes from our own pages. Pure.

The rules are those of Go's net/http CrossOriginProtection (1.25), on what browsers themselves say:

    request                                             allowed
    GET, HEAD, OPTIONS                                  yes: they change nothing
    Sec-Fetch-Site: same-origin, none                   yes
    Sec-Fetch-Site: anything else                       no
    no Sec-Fetch-Site, Origin is ours                   yes: browsers send it to HTTPS and localhost only
    no Sec-Fetch-Site, Origin is another, or `null`     no
    neither                                             yes: this is no browser, with nobody's cookies

A field that is there twice is no statement of a browser: the request is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final
from urllib.parse import urlsplit

SAFE: Final = frozenset(("GET", "HEAD", "OPTIONS"))


def is_from_own_pages(method: str, sites: Sequence[str], origins: Sequence[str], own: Sequence[str]) -> bool:
    """Whether a request may change something.

    sites, origins: the values of its Sec-Fetch-Site and Origin fields. own: the hosts of our pages, as a Host
    field has them (`shop.example:8443`).
    """
    if method in SAFE:
        return True
    if len(sites) > 1 or len(origins) > 1:
        return False
    if sites:
        return sites[0] in ("same-origin", "none")
    if not origins:
        return True
    return _host(origins[0]) in {_without_default_port(each.lower()) for each in own}


def _host(origin: str) -> str | None:
    """The host and port of an origin; None for `null` and for what is no origin of the web."""
    try:
        parts = urlsplit(origin.lower())
    except ValueError:
        return None
    if parts.scheme not in ("http", "https") or not parts.netloc or parts.path:
        return None
    return _without_default_port(parts.netloc)


def _without_default_port(host: str) -> str:
    return host.removesuffix(":443").removesuffix(":80")
