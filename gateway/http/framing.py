"""The bounds of a request: how long its head may be, what in it decides where it ends, and its body. Pure.

aiohttp's parser reads heads, but it limits only their lines, it accepts some that RFC 9112 calls invalid, and
what it has read of an unfinished head is several times as large as the head. So a head is given to it only as
a whole, and only after `check_head`:

- A request line longer than `max_line` is 414. A field longer than `max_field`, more than `max_headers`
  fields, and a head of more than `max_head` bytes, counted from the first one, are 431.
- The parts of a request line are separated by one space each (RFC 9112 section 3).
- A well-formed version other than HTTP/1.0 and HTTP/1.1 is 505 (RFC 9110 section 15.6.6).
- A Host field holds a host and perhaps a port, as RFC 3986 section 3.2.2 writes them (section 3.2).
- Transfer-Encoding names an encoding (section 6.1). With HTTP/1.0 the framing counts as faulty: the
  connection closes after the answer (the same section).
- Empty lines before a head are dropped (section 2.2).

An unfinished head is checked as far as it can be: `check_beginning`.
"""

from __future__ import annotations

import re
from ipaddress import IPv6Address
from typing import Final, Protocol

from gateway.errors import (
    BAD_REQUEST,
    HEAD_TOO_LARGE,
    HTTP_VERSION_NOT_SUPPORTED,
    URI_TOO_LONG,
    Refused,
)

HEAD_END: Final = b"\r\n\r\n"
MAX_METHOD: Final = 64
"""The longest method in bytes. The longest one that is registered has 17."""
MAX_CHUNK_LINE: Final = 4096
"""The longest line of chunked framing, with its extensions, in bytes; all trailers together, too."""
MAX_LENGTH_DIGITS: Final = 20
"""A Content-Length is a number of 64 bits."""

_TOKEN: Final = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]"
_METHOD_AND_TARGET: Final = _TOKEN + rb"{1,%d} ([!-~\x80-\xff]+) " % MAX_METHOD
_REQUEST_LINE: Final = re.compile(_METHOD_AND_TARGET + rb"HTTP/1\.([01])\r\n")
_ANY_VERSION: Final = re.compile(_METHOD_AND_TARGET + rb"HTTP/[0-9]\.[0-9]\r\n")
_BEGINNING: Final = re.compile(_TOKEN + rb"{1,%d}+(?:\Z| (?:\Z|[/*hH]))" % MAX_METHOD)
"""How a request begins whose line is not complete: a method, and a target of any form but an authority."""
_BARE_LF: Final = re.compile(rb"(?<!\r)\n")
_FRAMING: Final = re.compile(
    rb"\n(host|content-length|transfer-encoding):[ \t]*+([^\r\n]*)", re.IGNORECASE | re.ASCII
)
_HOST: Final = re.compile(
    rb"(?:(?:[A-Za-z0-9._~!$&'()*+,;=-]|%[0-9A-Fa-f]{2})*+|\[([0-9A-Fa-f:.]+)\])(?::[0-9]*)?"
)
_CHUNK: Final = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[\t -~\x80-\xff]*)?\r\n")


class HeadLimits(Protocol):
    """The settings of the same names, in bytes; max_headers: a number of fields."""

    @property
    def max_line(self) -> int: ...
    @property
    def max_field(self) -> int: ...
    @property
    def max_headers(self) -> int: ...
    @property
    def max_head(self) -> int: ...


def check_beginning(part: bytes, known: int, limits: HeadLimits) -> None:
    """Check a head whose end has not arrived yet. Raises Refused.

    known: how many of its bytes have been checked before. Only what is new is looked at, so a head that comes
    byte by byte is not read again and again.
    """
    if known <= MAX_METHOD and _BEGINNING.match(part) is None:
        raise Refused(BAD_REQUEST)
    end = part.find(b"\n")
    if (end if end >= 0 else len(part)) > limits.max_line:
        raise Refused(URI_TOO_LONG)
    if len(part) > limits.max_head:
        raise Refused(HEAD_TOO_LARGE)
    if end >= known and end >= 0:
        _read_line(part)
    if end >= 0 and _BARE_LF.search(part, known):
        raise Refused(BAD_REQUEST)


def _read_line(head: bytes) -> re.Match[bytes]:
    """The target and the minor version of the request line. Raises Refused."""
    line = _REQUEST_LINE.match(head)
    if line is None:
        raise Refused(BAD_REQUEST if _ANY_VERSION.match(head) is None else HTTP_VERSION_NOT_SUPPORTED)
    return line


class Framing:
    """What a head says about its body and its connection.

    body: what finds the end of the body; None if there is no body. closes: whether the connection has to
    close after the answer, whatever the client says.
    """

    __slots__ = ("body", "closes")

    def __init__(self, body: Body | None = None, closes: bool = False) -> None:
        self.body = body
        self.closes = closes


NO_BODY: Final = Framing()


def check_head(head: bytes, limits: HeadLimits) -> Framing:
    """Check a whole head, which ends with HEAD_END, before aiohttp's parser reads it. Raises Refused.

    What the parser checks itself is not checked here: methods, fields, and lengths of a body.
    """
    line_end = head.find(b"\r\n")
    if line_end > limits.max_line:
        raise Refused(URI_TOO_LONG)
    if len(head) > limits.max_head:
        raise Refused(HEAD_TOO_LARGE)
    line = _read_line(head)
    lines = head.split(b"\r\n")
    if len(lines) - 3 > limits.max_headers or max(map(len, lines[1:])) > limits.max_field:
        raise Refused(HEAD_TOO_LARGE)
    body: Body | None = None
    closes = False
    for name, padded in _FRAMING.findall(head):
        kind, value = name.lower(), padded.rstrip(b" \t")
        if kind == b"host":
            if not is_host(value):
                raise Refused(BAD_REQUEST)
        elif kind == b"content-length":
            if not value.isdigit():
                raise Refused(BAD_REQUEST)
            digits = value.lstrip(b"0")[:MAX_LENGTH_DIGITS]  # the parser refuses a length of more digits
            if digits:
                body = Body(int(digits))
        elif not value.strip(b", \t"):
            raise Refused(BAD_REQUEST)
        else:
            body = Body(None)
            closes = line[2] == b"0"
    return Framing(body, closes) if body is not None or closes else NO_BODY


def is_host(value: bytes) -> bool:
    """Whether this is the value of a Host field: a name, an address, or `[IPV6]`, and perhaps a port.

    It may be empty: RFC 9112 section 3.2 wants that of a client whose target has no host.
    """
    match = _HOST.fullmatch(value)
    if match is None:
        return False
    if match[1] is not None:
        try:
            IPv6Address(match[1].decode())
        except ValueError:
            return False
    return True


def target_of_unknown_method(head: bytes) -> str | None:
    """The target of a request line whose only fault is a method that the parser does not know."""
    match = _REQUEST_LINE.match(head)
    return match[1].decode(errors="surrogateescape") if match else None


class Body:
    """Finds the end of a request's body (RFC 9112 sections 6.2 and 7.1).

    length: its bytes; None for a chunked one. size: how many bytes of it have arrived. ended: it is complete.
    broken: its framing is invalid, so that nothing after it can be read. pieces: where its content is put,
    without its framing; None for a body that is dropped.
    """

    __slots__ = ("_expects", "_left", "_line", "broken", "ended", "length", "pieces", "size")

    def __init__(self, length: int | None) -> None:
        self.length = length
        self.size = 0
        self.ended = self.broken = False
        self.pieces: list[bytes] | None = None
        self._left = length or 0
        self._expects = b"size"  # or "end" (of a chunk's data) or "trailers"
        self._line = b""

    def take(self, data: bytes) -> bytes:
        """Count what belongs to the body; return what follows it. Not to be called once it has ended."""
        position = 0
        while position < len(data) and not (self.ended or self.broken):
            if self._left:
                taken = min(self._left, len(data) - position)
                self._left -= taken
                if self.pieces is not None:
                    self.pieces.append(data[position : position + taken])
                position += taken
                self.ended = self.length is not None and not self._left
            else:
                end = data.find(b"\n", position) + 1
                self._line += data[position : end or len(data)]
                position = end or len(data)
                if end:
                    self._read_line()
                self.broken = self.broken or len(self._line) > MAX_CHUNK_LINE
        self.size += position
        return data[position:]

    def _read_line(self) -> None:
        """Go on after one more line of chunked framing."""
        if self._expects == b"trailers":
            self.ended = self._line.endswith(b"\n\r\n") or self._line == b"\r\n"
            return  # the lines of the trailers are kept together, so that their sum is limited
        line, self._line = self._line, b""
        if self._expects == b"end":
            self._expects = b"size"
            self.broken = line != b"\r\n"
            return
        match = _CHUNK.fullmatch(line)
        if match is None:
            self.broken = True
            return
        self._left = int(match[1], 16)
        self._expects = b"end" if self._left else b"trailers"
