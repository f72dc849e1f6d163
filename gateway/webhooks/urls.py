"""Which URLs an endpoint may have. Pure: what their hosts lead to is looked at when they are connected to.

A URL is read strictly, by one grammar (RFC 3986 in ASCII), because two readers that disagree about its host
are how such checks are passed. A host that is all numbers but no plain IPv4 address (`2130706433`, `0x7f.1`,
`017700000001`) is refused, as the URL standard of browsers takes it for an address.
"""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final, NamedTuple

from gateway.webhooks.networks import is_loopback, is_public

MOST_CHARACTERS: Final = 2000
_URL: Final = re.compile(
    r"(?P<scheme>https?)://(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_.-]+)(?::(?P<port>[0-9]{1,5}))?"
    r"(?P<rest>(?:/(?:[A-Za-z0-9._~!$&'()*+,;=:@/-]|%[0-9A-Fa-f]{2})*)?"
    r"(?:\?(?:[A-Za-z0-9._~!$&'()*+,;=:@/?-]|%[0-9A-Fa-f]{2})*)?)",
    re.ASCII,
)
_LABEL: Final = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)", re.ASCII)
_NUMBER: Final = re.compile(r"[0-9]+|0[xX][0-9A-Fa-f]*", re.ASCII)
_HTTPS: Final = 443
_FIRST_FREE: Final = 1024
"""Ports from here on may be anybody's web server. Below, only that of https is: others are mail, names, …"""


class UrlFault(ValueError):
    """A URL that an endpoint may not have. The text completes a sentence: "must be …"."""


class Target(NamedTuple):
    """Where to connect, read from a URL.

    host: a name, or an address without brackets. is_local: it is this machine, which a setting allows.
    """

    is_https: bool
    host: str
    port: int
    is_local: bool


def read_url(text: str, *, allow_loopback: bool = False) -> Target:
    """Read the URL of an endpoint. Raises UrlFault.

    allow_loopback: whether it may be this machine, by http or https on any port, named as localhost or by its
    address.
    """
    if len(text) > MOST_CHARACTERS:
        raise UrlFault(f"must have at most {MOST_CHARACTERS} characters")
    if "@" in text.partition("://")[2].partition("/")[0].partition("?")[0]:
        raise UrlFault("must have no user name and no password")
    if "#" in text:
        raise UrlFault("must have no fragment (#…), which is never sent")
    found = _URL.fullmatch(text)
    if found is None:
        raise UrlFault("must be a URL like https://shop.example/hook, in ASCII with %-escapes")
    is_https = found["scheme"] == "https"
    port = int(found["port"]) if found["port"] else (_HTTPS if is_https else 80)
    if not 1 <= port <= 65535:
        raise UrlFault("must have a port from 1 to 65535")
    host = found["host"].strip("[]").lower()
    address = _read_address(host)
    is_local = host == "localhost" or (address is not None and is_loopback(address))
    if is_local and allow_loopback:
        return Target(is_https, host, port, True)
    if not is_https:
        raise UrlFault("must begin with https://")
    if address is not None:
        if not is_public(address):
            raise UrlFault("must not lead to this machine or into a private network")
    else:
        _check_name(host)
    if port != _HTTPS and port < _FIRST_FREE:
        raise UrlFault(f"must have port {_HTTPS}, or one from {_FIRST_FREE} on")
    return Target(True, host, port, False)


def _read_address(host: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None


def _check_name(host: str) -> None:
    labels = host.removesuffix(".").split(".")
    if ":" in host or not all(_LABEL.fullmatch(label) for label in labels):
        raise UrlFault("must have a host name that can exist")
    if _NUMBER.fullmatch(labels[-1]):
        raise UrlFault("must have a host name, or an address in its usual form")
    if len(labels) == 1 or labels[-1] in ("localhost", "local", "internal"):
        raise UrlFault("must not lead to this machine or into a private network")
    if len(host) > 253:
        raise UrlFault("must have a host name that can exist")
