"""The plan: a complete answer, decided without any I/O. Deliveries send it.

Representation   one file of a manifest as HTTP shows it: its fields, made once
Segment          some bytes of framing, and then a span of one of the answer's files
Plan             status, head and segments
plan_answer      method + request fields + representation -> plan, in the order of RFC 9110 section 13.2.2
plan_redirect    a URL where the storage itself sends the file -> plan
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Final, NamedTuple

from multidict import CIMultiDictProxy

from gateway.errors import PRECONDITION_FAILED, RANGE_NOT_SATISFIABLE, Refusal
from gateway.http.conditions import Verdict, evaluate, requested_range
from gateway.http.fields import (
    content_range,
    entity_tag,
    format_date,
    multipart,
    repr_digest,
)
from gateway.http.file_names import content_disposition
from gateway.http.ranges import UNSATISFIABLE, Span, select_ranges
from gateway.manifest import ManifestFile

PARTIAL: Final = 206
REDIRECT: Final = 302
NANOSECONDS: Final = 1_000_000_000
DATE_SECONDS: Final = 1.0
"""How old the Date of an answer may be: the server renews it several times a second."""
_MEDIA_TYPE: Final = re.compile(
    r"[!#$%&'*+.^_`|~0-9A-Za-z-]+/[!#$%&'*+.^_`|~0-9A-Za-z-]+(?:;[ !-~]*)?", re.ASCII
)
_new: Final = tuple.__new__
"""Makes a named tuple without the call of its own function: 0.2 µs a request."""


class Segment(NamedTuple):
    """What to send next: `prefix`, and then the bytes of `span` from one of the answer's files.

    file: the number of that file among those that are sent, from 0; it is 0 wherever the answer has one file.
    """

    prefix: bytes
    file: int
    span: Span


class Representation:
    """One file of a manifest as HTTP shows it. A worker makes it once and uses it for every request.

    product, version: of the manifest. now: seconds since 1970 UTC. A file that is dated later (by a wrong
    clock) counts as modified DATE_SECONDS ago, because Last-Modified must not be later than Date (RFC 9110,
    8.8.2.1).
    """

    __slots__ = (
        "_partial",
        "_whole",
        "common",
        "disposition",
        "etag",
        "file",
        "modified",
        "product",
        "type",
        "validators",
        "version",
    )

    def __init__(
        self, file: ManifestFile, now: float = math.inf, product: str = "", version: str = ""
    ) -> None:
        self.file = file
        self.product = product
        self.version = version
        self.etag = entity_tag(file.sha256)
        modified = file.modified // NANOSECONDS
        self.modified = modified if modified <= now else int(now - DATE_SECONDS)
        self.type = file.type if _MEDIA_TYPE.fullmatch(file.type) else "application/octet-stream"
        self.disposition = content_disposition(file.name)
        self.validators = _fields(
            ("ETag", self.etag),
            ("Last-Modified", format_date(self.modified)),
            ("Cache-Control", "private, no-transform"),
            ("Referrer-Policy", "no-referrer"),
            ("X-Content-Type-Options", "nosniff"),
        )
        self.common = (
            _fields(
                ("Accept-Ranges", "bytes"),
                ("Content-Disposition", self.disposition),
                ("Repr-Digest", repr_digest(file.sha256)),
            )
            + self.validators
        )
        typed = _fields(("Content-Type", self.type)) + self.common
        whole = b"HTTP/1.1 200 OK\r\n" + _fields(("Content-Length", str(file.size))) + typed
        span = Span(0, file.size)
        self._whole = Plan(200, whole, (Segment(b"", 0, span),) if file.size else (), b"", file.size)
        self._partial = b"HTTP/1.1 206 Partial Content\r\n" + typed

    def whole(self) -> Plan:
        """The plan for the whole file."""
        return self._whole

    def part(self, span: Span) -> Plan:
        """The plan for one span."""
        segment = _new(Segment, (b"", 0, span))
        return Plan(206, self.part_head(span), (segment,), b"", span.stop - span.start)

    def part_head(self, span: Span) -> bytes:
        """The head of the plan for one span."""
        start, stop = span
        return b"%bContent-Range: bytes %d-%d/%d\r\nContent-Length: %d\r\n" % (
            self._partial,
            start,
            stop - 1,
            self.file.size,
            stop - start,
        )

    def parts(self, spans: tuple[Span, ...]) -> Plan:
        """The plan for several spans, as multipart/byteranges."""
        body = multipart(spans, self.file.size, self.type, self.file.sha256)
        head = (
            b"HTTP/1.1 206 Partial Content\r\n"
            + _fields(("Content-Type", body.type), ("Content-Length", str(body.length)))
            + self.common
        )
        segments = tuple(Segment(prefix, 0, span) for prefix, span in body.parts)
        return Plan(206, head, segments, body.closing, sum(span.stop - span.start for span in spans))


@dataclass(frozen=True, slots=True)
class Plan:
    """A decided answer.

    head: status line and fields, each ended by CRLF. segments: the body, in order. closing: framing after the
    last segment. amount: bytes of files, which a claim reserves: the sum of the spans, or what a redirect
    grants elsewhere. refusal: set when the answer is a refusal; `head` then has only the fields to add to it.
    """

    status: int
    head: bytes
    segments: tuple[Segment, ...] = ()
    closing: bytes = b""
    amount: int = 0
    refusal: Refusal | None = None


def plan_answer(method: str, headers: CIMultiDictProxy[str], representation: Representation) -> Plan:
    """Decide the answer to a GET or HEAD for one file. Pure; never raises.

    HEAD gets the head that GET would get without its Range (RFC 9110 section 14.2), and no segments.
    """
    verdict = evaluate(method, headers, representation.etag, representation.modified)
    if verdict is Verdict.NOT_MODIFIED:
        return Plan(304, b"HTTP/1.1 304 Not Modified\r\n" + representation.validators)
    if verdict is Verdict.PRECONDITION_FAILED:
        fields = _fields(
            ("ETag", representation.etag), ("Last-Modified", format_date(representation.modified))
        )
        return Plan(412, fields, refusal=PRECONDITION_FAILED)
    if method == "HEAD":
        whole = representation.whole()
        return Plan(whole.status, whole.head)
    return plan_range(
        requested_range(method, headers, representation.etag, representation.modified), representation
    )


def plan_range(value: str | None, representation: Representation) -> Plan:
    """Decide the answer to a GET without conditions. value: the Range field; None or empty: there is none."""
    spans = select_ranges(value, representation.file.size) if value else None
    if spans is None:
        return representation.whole()
    if spans == UNSATISFIABLE:
        fields = _fields(
            ("Content-Range", content_range(None, representation.file.size)), ("Accept-Ranges", "bytes")
        )
        return Plan(416, fields, refusal=RANGE_NOT_SATISFIABLE)
    if len(spans) == 1:
        return representation.part(spans[0])
    return representation.parts(spans)


def plan_redirect(location: str, amount: int) -> Plan:
    """The plan that sends the client to the storage itself, where it may get `amount` bytes.

    No cache may keep the URL and no page may pass it on: whoever has the URL can get the file.
    """
    head = b"HTTP/1.1 302 Found\r\n" + _fields(
        ("Location", location),
        ("Content-Length", "0"),
        ("Cache-Control", "no-store"),
        ("Referrer-Policy", "no-referrer"),
    )
    return Plan(REDIRECT, head, amount=amount)


def _fields(*fields: tuple[str, str]) -> bytes:
    return "".join(f"{name}: {value}\r\n" for name, value in fields).encode("ascii")
