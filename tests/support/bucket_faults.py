"""What the storage of faulty_bucket.py does differently for one request."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Fault:
    """What is done differently for one request. Offsets count bytes of the body of this response.

    reset_after: after so many bytes the connection is reset (RST). short_after: after so many bytes it is
    closed in order (FIN). stall_after: after so many bytes nothing more is sent, until the client closes.
    before_head: "reset", "close" or "stall" does the same before the head. status, code, retry_after: send
    this error. ignore_range: send 200 with the whole object. range_status: the status of a range. fields: of
    the head, in place of the right ones; None leaves one out. chunked: send the body in chunks. pieces: send
    the head in so many pieces. garbage: send this instead of a response. rate: in bytes a second. closes: no
    keep-alive. then: is called before the request is handled.
    """

    reset_after: int | None = None
    short_after: int | None = None
    stall_after: int | None = None
    before_head: str = ""
    status: int = 0
    code: str = ""
    retry_after: str = ""
    ignore_range: bool = False
    range_status: int = 206
    fields: dict[str, str | None] = field(default_factory=dict)
    chunked: bool = False
    pieces: int = 1
    garbage: bytes = b""
    rate: int = 0
    closes: bool = False
    then: Callable[[], object] | None = None


GOOD = Fault()
