"""One request and its answer: what a front end is handed, and what is counted and logged when it ends."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Final

from multidict import CIMultiDict, CIMultiDictProxy

from gateway.errors import Refusal
from gateway.http.fields import prefers_html
from gateway.http.pages import refusal_answer
from gateway.runtime.deferred import Deferred

if TYPE_CHECKING:
    from gateway.dataplane.connection import ClientConnection
    from gateway.tokens.leases import Lease

NO_HEADERS: Final = CIMultiDictProxy(CIMultiDict[str]())
EXPOSED: Final = b"Access-Control-Expose-Headers: Accept-Ranges, Content-Disposition, Content-Range, ETag\r\n"


class ClientGone(Exception):
    """The connection was lost; nobody is there to answer."""


class Exchange:
    """One request under way on one connection.

    method, target, headers: as parsed. Where a plain head was read (rules/heads.py), `token` is its token,
    checked, or `original` the target that a front proxy asks about, with its token as `asked_token` if it is
    a minted URL; `file` is the name asked for, if any, `range` the Range field, `agent` the client's name for
    itself; the target has no query, and headers have at most X-Forwarded-For. keep: whether the connection
    serves another request afterwards. started, ended: seconds of the monotonic clock. token_id, status, code,
    sent (bytes of file content) and whole: for the log, filled in on the way. lease: of what is reserved, if
    sending it may take a while. waiter: set when the answer is complete, if somebody waits.
    """

    # Defaults of the class: most exchanges never change them, and one is made for every request.
    token = ""
    file = ""
    asked_token = ""
    original = ""
    agent = ""
    range = ""
    token_id = ""
    code = ""
    status = 0
    sent = 0
    ended = 0.0
    whole = False
    begun = False
    lease: Lease | None = None
    waiter: Deferred[None] | None = None

    def __init__(
        self,
        connection: ClientConnection,
        method: str = "GET",
        target: str = "/download",
        headers: CIMultiDictProxy[str] = NO_HEADERS,
        keep: bool = True,
        is_http10: bool = False,
    ) -> None:
        self.connection = connection
        self.method = method
        self.target = target
        self.headers = headers
        self.keep = keep
        self.is_http10 = is_http10
        self.started = monotonic()

    def respond(self, status: int, head: bytes, body: bytes = b"") -> None:
        """Send the head, and the body with it unless the method is HEAD.

        head: as for `begin`. Raises ClientGone when the connection is lost.
        """
        transport = self.connection.transport
        if transport is None:
            raise ClientGone
        whole = self.begin(status, head)
        transport.write(whole if self.method == "HEAD" else whole + body)

    def begin(self, status: int, head: bytes) -> bytes:
        """Complete a head, which the caller sends at once: from here on the answer cannot become another.

        head: the status line and the fields, each ended by CRLF, without the empty line; Date, CORS and
        Connection fields are added here.
        """
        server = self.connection.server
        if server.draining:
            self.keep = False
        self.status = status
        self.begun = True
        if server.cors_origins:
            head += cors_fields(server.cors_origins, self.headers.get("Origin"))
        if not self.keep:
            ending = b"Connection: close\r\n\r\n"
        elif self.is_http10:
            ending = b"Connection: keep-alive\r\n\r\n"
        else:
            ending = b"\r\n"
        return b"".join((head, server.date_field, ending))

    def refuse(
        self, refusal: Refusal, detail: str | None = None, fields: bytes = b"", status: int | None = None
    ) -> None:
        """Answer with a row of the table, as problem+json or as a small page. Raises ClientGone.

        fields: added to the head. status: instead of the row's own, for a proxy that would spoil that one.
        """
        self.code = refusal.code
        html = prefers_html(self.headers.get("Accept"))
        head, body = refusal_answer(refusal, detail, html, status)
        self.respond(status or refusal.status, head + fields, body)

    def abort(self) -> None:
        """Break the connection: what was begun cannot be finished, and the client must know."""
        self.keep = False
        self.connection.reset()

    def end(self) -> None:
        """The answer is complete, or will never be."""
        self.ended = monotonic()
        self.connection.finish(self)

    def is_from_allowed_origin(self) -> bool:
        """Whether the setting `cors_origins` lets pages of the request's origin read the answer."""
        origins = self.connection.server.cors_origins
        return "*" in origins or self.headers.get("Origin") in origins


def cors_fields(origins: frozenset[str], origin: str | None) -> bytes:
    """What a request from a page of `origin` is answered beside all else, where `origins` may read it."""
    if "*" in origins:
        return b"Access-Control-Allow-Origin: *\r\n" + EXPOSED
    if origin is None or origin not in origins:
        return b"Vary: Origin\r\n"
    return b"Access-Control-Allow-Origin: %b\r\nVary: Origin\r\n%b" % (origin.encode(), EXPOSED)
