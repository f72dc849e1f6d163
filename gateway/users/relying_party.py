"""Where passkeys work: pages that come by https under a name, or from `localhost`. Pure.

https://www.w3.org/TR/webauthn-3/ sections 5.1.3 and 13.4.9: the relying party's id is a domain, never an
address, and the page must be a secure context.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from urllib.parse import urlsplit


@dataclass(frozen=True)
class RelyingParty:
    """Which site a passkey is for. id: its host name. origin: with scheme and port."""

    id: str
    origin: str


def relying_party(origin: str) -> RelyingParty | None:
    """The site of an origin (`https://host:port`); None where browsers allow no passkeys."""
    try:
        parts = urlsplit(origin)
        host = (parts.hostname or "").lower()
    except ValueError:
        return None
    if not host or host.endswith(".") or _is_address(host):
        return None
    is_local = host == "localhost" or host.endswith(".localhost")
    if parts.scheme != "https" and not (is_local and parts.scheme == "http"):
        return None
    return RelyingParty(host, origin)


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
