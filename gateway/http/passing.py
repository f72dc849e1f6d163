"""Which requests a worker passes on to the web process, and what of their heads goes on. Pure.

- What is passed on is the table PASSED: these paths, and all that is below them. The path is compared without
  dot segments, and its first part in any spelling, as `targets.py` does; what goes on is that path. So the
  web process looks at the path that was decided about, and `/hooks/../api` is no path of it.
- The fields of one connection end here (RFC 9110 section 7.6.1): those of CONNECTION_FIELDS, and those that
  Connection names. So do the fields of proxies, which the client could have written: X-Forwarded-…, Forwarded
  and their kin, also with `_` for `-`. In their place go the client's address and the scheme as this worker
  has found them.
- The body is framed anew: by its length, or in chunks. Its content is not changed, because signatures are
  made over it. Trailers end here.
- Expect goes on, except from HTTP/1.0, which has no expectations (section 10.1.1): the web process decides
  whether it wants the body.
- The host of a target in absolute-form replaces the Host field (RFC 9112 section 3.2.2).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from multidict import CIMultiDictProxy

from gateway.errors import BAD_REQUEST, Refused
from gateway.http.framing import Body, is_host
from gateway.http.paths import normal_path, split_target
from gateway.http.percent import percent_decode
from gateway.secrets import REDACTED

PASSED: Final = ("/hooks", "/my", "/.well-known/jwks.json")
"""The paths that the web process answers in public, each with all that is below it: webhooks of platforms,
the customers' pages, and the keys that receipts are signed with."""
MAX_BODY: Final = 1024 * 1024
"""The longest body that is passed on. Platforms send some KiB, and at most 1 MiB is accepted from them."""
LOGGED_PARTS: Final = 2
"""So many parts of a path are logged. What follows may be a secret: `/hooks/CONNECTION/SECRET`."""

CONNECTION_FIELDS: Final = frozenset(
    (
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    )
)
_OWN_FIELDS: Final = frozenset(("content-length", "host"))
_OF_PROXIES: Final = frozenset(
    (
        "cf-connecting-ip",
        "client-ip",
        "fastly-client-ip",
        "forwarded",
        "traceparent",
        "tracestate",
        "true-client-ip",
        "via",
        "x-client-ip",
        "x-cluster-client-ip",
        "x-real-ip",
    )
)
_PREFIXES_OF_PROXIES: Final = ("x-forwarded", "x-original-", "x-gateway-")
_MOST_SPELLED: Final = 3 * max(map(len, PASSED))
_AUTHORITY: Final = re.compile(r"https?://([^/?#]*)", re.IGNORECASE | re.ASCII)
_BODIED: Final = frozenset(("PATCH", "POST", "PUT"))
_UNSAFE: Final = re.compile(rb"[\0\r\n]")


def passed_target(target: str) -> str | None:
    """The path and query that go on to the web process; None for a target that does not."""
    path, query = split_target(target)
    if not path.startswith("/"):
        return None
    path = normal_path(path)
    for prefix in PASSED:
        rest = _rest_below(path, prefix)
        if rest is not None:
            return f"{prefix}{rest}?{query}" if query else prefix + rest
    return None


def _rest_below(path: str, prefix: str) -> str | None:
    """What follows the prefix, which may be spelled in any way; None for a path that is not below it."""
    parts = path.split("/", prefix.count("/") + 1)
    begin, rest = "/".join(parts[: prefix.count("/") + 1]), parts[prefix.count("/") + 1 :]
    if "%" in begin and len(begin) <= _MOST_SPELLED and "%2f" not in begin.lower():
        begin = percent_decode(begin)
    return None if begin != prefix else "/" + rest[0] if rest else ""


def logged_target(target: str) -> str:
    """The path of a passed target as the log may have it."""
    parts = target.partition("?")[0].split("/", LOGGED_PARTS + 1)
    return "/".join([*parts[:-1], REDACTED] if len(parts) > LOGGED_PARTS + 1 and parts[-1] else parts)


def requested_host(target: str, fields: CIMultiDictProxy[str]) -> str:
    """The host that is asked for: the target's own, else the Host field's. Raises Refused."""
    authority = _AUTHORITY.match(target)
    if authority is None:
        return fields.get("Host", "")
    host = authority[1].rpartition("@")[2]
    if not host or not is_host(host.encode("utf-8", "surrogateescape")):
        raise Refused(BAD_REQUEST)
    return host


def passed_head(
    method: str,
    target: str,
    fields: CIMultiDictProxy[str],
    *,
    host: str,
    client: str,
    scheme: str,
    body: Body | None,
    is_http10: bool = False,
    traceparent: str = "",
) -> bytes:
    """The head that goes to the web process, with its empty line.

    target: what `passed_target` returned. client: the client's address, "" if it is not known. body: of the
    request, if it has one. traceparent: what a trusted proxy has sent. Raises Refused for a field that cannot
    be written.
    """
    dropped = CONNECTION_FIELDS | _OWN_FIELDS | set(named_by_connection(fields.getall("Connection", ())))
    if is_http10 or body is None:
        dropped |= {"expect"}
    lines = [f"{method} {target} HTTP/1.1", f"Host: {host}"]
    lines += [
        f"{name}: {value}"
        for name, value in fields.items()
        if name.lower() not in dropped and not _is_of_proxies(name)
    ]
    if client:
        lines.append(f"X-Forwarded-For: {client}")
    lines += [f"X-Forwarded-Proto: {scheme}", "Connection: close"]
    if traceparent:
        lines.append(f"traceparent: {traceparent}")
    if body is not None:
        lines.append(
            "Transfer-Encoding: chunked" if body.length is None else f"Content-Length: {body.length}"
        )
    elif method in _BODIED:
        lines.append("Content-Length: 0")
    encoded = [line.encode("utf-8", "surrogateescape") for line in lines]
    if any(_UNSAFE.search(line) for line in encoded):
        raise Refused(BAD_REQUEST)
    return b"\r\n".join([*encoded, b"", b""])


def named_by_connection(values: Iterable[str]) -> list[str]:
    """The names of fields that the Connection field's lines hold, in lower case."""
    return [name for value in values for each in value.split(",") if (name := each.strip(" \t").lower())]


def forwarded_scheme(fields: CIMultiDictProxy[str]) -> str:
    """The scheme that a front proxy says its client used; "" if it says none."""
    said = fields.getall("X-Forwarded-Proto", ())
    scheme = said[-1].rpartition(",")[2].strip(" \t").lower() if said else ""
    return scheme if scheme in ("http", "https") else ""


def _is_of_proxies(name: str) -> bool:
    plain = name.lower().replace("_", "-")
    return plain in _OF_PROXIES or plain.startswith(_PREFIXES_OF_PROXIES)
