"""Reads what the web process answers to a request that was passed on. Pure.

Its answer ends with the connection, because each request has a connection of its own. So nothing of an answer
can be taken for that of another request. Where the answer says how long it is, or is in chunks, one that was
cut off is recognised. Answers to HEAD, 204 and 304 have no body (RFC 9112 section 6.3). Interim answers are
dropped, except that `100 Continue` is noted.

An answer that breaks the rules is `broken`. Of its fields go on to the client all but those of one connection
(RFC 9110 section 7.6.1) and those that this worker writes itself: Date and how the body is framed.
"""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import Final, NamedTuple

from gateway.http.framing import HEAD_END, Body
from gateway.http.passing import CONNECTION_FIELDS, named_by_connection

MAX_HEAD: Final = 64 * 1024
"""The longest head of an answer, in bytes. The usual one has some hundred."""

_STATUS: Final = re.compile(rb"HTTP/1\.[01] ([1-9][0-9]{2})(?: [\t -~\x80-\xff]*)?")
_FIELD: Final = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*+([\t -~\x80-\xff]*)")
_OWN_FIELDS: Final = frozenset((b"content-length", b"date", b"server"))
_WITHOUT_BODY: Final = frozenset((204, 304))
_SWITCHING: Final = 101


class AnswerHead(NamedTuple):
    """The head of an answer. fields: as they came. length: of the body, if it is said."""

    status: int
    fields: list[tuple[bytes, bytes]]
    length: int | None
    is_chunked: bool


class AnswerReader:
    """Reads one answer. method: of its request.

    head: once it has come. has_body: whether a body belongs to it. ended: the answer is complete.
    broken: it is none. continues: the web process has asked for the request's body.
    """

    def __init__(self, method: str) -> None:
        self.head: AnswerHead | None = None
        self.has_body = False
        self.ended = self.broken = self.continues = False
        self._is_head = method == "HEAD"
        self._body: Body | None = None
        self._part = b""

    def feed(self, data: bytes) -> bytes:
        """Read more of the answer; return the content of its body that has come, without framing."""
        while self.head is None and not self.broken:
            head, end, rest = (self._part + data).partition(HEAD_END)
            if not end:
                self._part = head
                self.broken = len(head) > MAX_HEAD
                return b""
            self._part, data = b"", rest
            self._read_head(head)
        if self.ended or self.broken:
            return b""
        if self._body is None:  # it ends with the connection
            return data
        pieces: list[bytes] = []
        self._body.pieces = pieces
        self._body.take(data)
        self.broken, self.ended = self._body.broken, self._body.ended
        return b"".join(pieces)

    def end_of_stream(self) -> bool:
        """The web process has ended the connection. Returns whether the answer is complete."""
        if self.head is not None and self._body is None and not self.broken:
            self.ended = True
        return self.ended

    def _read_head(self, data: bytes) -> None:
        """Read a head, without its empty line."""
        first, *lines = data.split(b"\r\n")
        status_line = _STATUS.fullmatch(first)
        matches = [_FIELD.fullmatch(line) for line in lines]
        fields = [(each[1], each[2].rstrip(b" \t")) for each in matches if each]
        if status_line is None or len(fields) < len(lines):
            self.broken = True
            return
        status = int(status_line[1])
        lengths = {value for name, value in fields if name.lower() == b"content-length"}
        codings = [value.lower() for name, value in fields if name.lower() == b"transfer-encoding"]
        if status < 200:
            self.continues = self.continues or status == HTTPStatus.CONTINUE
            self.broken = status == _SWITCHING
            return
        is_faulty = len(lengths) > 1 or not all(each.isdigit() and len(each) < 20 for each in lengths)
        if is_faulty or codings not in ([], [b"chunked"]):
            self.broken = True
            return
        length = int(lengths.pop()) if lengths and not codings else None
        self.head = AnswerHead(status, fields, length, bool(codings))
        self.has_body = not self._is_head and status not in _WITHOUT_BODY
        if not self.has_body or length == 0:
            self.ended = True
        elif codings or length is not None:
            self._body = Body(length)


def client_head(head: AnswerHead, *, is_chunked: bool) -> bytes:
    """The status line and the fields for the client, without those that every answer of a worker has.

    is_chunked: whether the body goes to the client in chunks.
    """
    said = [value.decode("latin-1") for name, value in head.fields if name.lower() == b"connection"]
    dropped = _OWN_FIELDS | {
        name.encode("latin-1") for name in (*CONNECTION_FIELDS, *named_by_connection(said))
    }
    try:
        phrase = HTTPStatus(head.status).phrase
    except ValueError:
        phrase = ""
    lines = [b"HTTP/1.1 %d %b" % (head.status, phrase.encode())]
    lines += [b"%b: %b" % pair for pair in head.fields if pair[0].lower() not in dropped]
    if is_chunked:
        lines.append(b"Transfer-Encoding: chunked")
    elif head.length is not None and head.status != HTTPStatus.NO_CONTENT:
        lines.append(b"Content-Length: %d" % head.length)
    return b"\r\n".join([*lines, b""])


def chunk(data: bytes) -> bytes:
    """One chunk (RFC 9112 section 7.1); without data the last one."""
    return b"%x\r\n%b\r\n" % (len(data), data)
