"""How a front proxy passes on the client and the request: one dialect a row. Pure.

    nginx   `auth_request`: X-Original-URI and X-Original-Method. It turns every answer but 2xx, 401 and 403
            into 500, so the true status of a refusal travels in X-Gateway-Status
    caddy   `forward_auth`, and Traefik's `forwardAuth`: X-Forwarded-Uri and X-Forwarded-Method. Refusals are
            passed on as they are
    envoy   `ext_authz` over HTTP with the path prefix /auth: the request's own method, and its target after
            the prefix. Refusals are passed on as they are

A proxy also passes on fields that it does not set itself, so a client may add the fields of another dialect
than its proxy's. Where two dialects name different requests, the question is refused, because a client may
not choose which of them counts.

Only trusted peers may ask at all (http/client_address.py), because the answer names storages and keys. A
request of such a peer that has neither these fields nor this prefix is checked itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

from multidict import CIMultiDictProxy

from gateway.errors import Refusal


@dataclass(frozen=True, slots=True)
class Dialect:
    """How one proxy asks: the fields with the URL and the method, and the statuses that it passes on."""

    name: str
    target: str
    method: str
    statuses: frozenset[int] | None
    """The statuses of refusals that the proxy passes to its client unchanged; None: all."""

    def status(self, refused: int) -> int:
        """Return the status to send for a refusal whose own status is `refused`."""
        return refused if self.statuses is None or refused in self.statuses else 403


NGINX: Final = Dialect("nginx", "X-Original-URI", "X-Original-Method", frozenset((401, 403)))
CADDY: Final = Dialect("caddy", "X-Forwarded-Uri", "X-Forwarded-Method", None)
ENVOY: Final = Dialect("envoy", "", "", None)
DIRECT: Final = Dialect("direct", "", "", None)
DIALECTS: Final = (NGINX, CADDY)
"""The dialects that use fields."""
PREFIX: Final = "/auth"
"""What Envoy puts before the original target."""


class Original(NamedTuple):
    """The request that the proxy asks about. disputed: the fields of two dialects name different requests."""

    dialect: Dialect
    method: str
    target: str
    disputed: bool = False


def read_original(method: str, target: str, headers: CIMultiDictProxy[str]) -> Original:
    """Return what the client asked the proxy for. The peer must be trusted."""
    found: list[Original] = []
    if target.startswith(PREFIX + "/"):
        found.append(Original(ENVOY, method, target[len(PREFIX) :]))
    for dialect in DIALECTS:
        methods = headers.getall(dialect.method, ("GET",))
        targets = headers.getall(dialect.target, ())
        found += [Original(dialect, verb, uri) for uri in targets for verb in methods]
    if not found:
        return Original(DIRECT, method, target)
    first = found[0]
    return first._replace(disputed=any(other[1:] != first[1:] for other in found))


def permission_head(identifier: str) -> bytes:
    """Return how every answer begins that lets a front proxy send something. identifier: the token's id."""
    return b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX-Gateway-Token-Id: %b\r\n" % identifier.encode()


def refusal_fields(refusal: Refusal) -> bytes:
    """Return the fields in which the true status and the code of a refusal reach the front proxy."""
    return b"X-Gateway-Status: %d\r\nX-Gateway-Code: %b\r\n" % (refusal.status, refusal.code.encode())
