"""Reads the heads of downloads and of front proxies' questions, without a parser: what matters in them.

A head is read here if it is well-formed and asks, by GET or HEAD in HTTP/1.1, for `/download…` or `/auth…`.
Its fields may be any, in any order. Three things may come of it:

    PlainHead      GET of a minted URL, `/download[/NAME]?token=ct_…` or `/download/ct_…/[NAME]`, with nothing
                   in NAME encoded, a token of the exact form, without conditions and with at most one range
    PlainQuestion  `GET /auth` with one X-Original-URI, as nginx asks (config/nginx/auth_request.conf), and
                   otherwise as above. Whether the sender is a trusted proxy is not decided here
    OtherHead      every other one: its method, its target, and those of its fields that matter

The rules:

- Lines end with CRLF. A line is a token, a colon, and any bytes but control characters (RFC 9112 section
  5). A field that has no meaning here (head_lines.py) is skipped, whatever its value is.
- A head of which more would have to be understood is left to aiohttp's parser: with a body, an upgrade or an
  expectation, or with one of the names that may stand only once and have no meaning here. So is every head
  with a fault: the parser and `framing.check_head` refuse it.
- What is read here is never read differently by aiohttp's parser; tests/dataplane/test_request_reader.py
  compares the two.

The beginning of a head is read by one expression. What all lines behind it mean is looked up as a whole, and,
where that is not known, line by line (head_blocks.py, head_lines.py).
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from multidict import CIMultiDict, CIMultiDictProxy

from gateway.http.framing import HeadLimits
from gateway.http.head_blocks import Blocks
from gateway.http.head_lines import (
    ABOUT,
    ACCEPT,
    AGENT,
    CLOSE,
    EMPTY,
    FORWARDED,
    HOST,
    LEFT,
    MATTERS,
    METHOD,
    OTHER,
    RANGE,
    TEXT,
    Lines,
)
from gateway.secrets import TOKEN_FORM

MAX_LINES: Final = 120
"""The most fields of a head that is read here. More would not fit in the 7 bits that count each meaning."""

_ONE_HOST: Final = HOST | 2 * EMPTY
"""A head has one Host, and, split at CRLF, two empty lines at its end."""
_ONE_ABOUT: Final = _ONE_HOST | ABOUT
_ALL: Final = 128 * LEFT - 1
_PLAIN: Final = _ALL & ~(AGENT | RANGE | ACCEPT | FORWARDED)
_QUESTION: Final = _PLAIN & ~METHOD
_OTHER: Final = _ALL & ~(AGENT | 127 * (RANGE | ACCEPT | FORWARDED | ABOUT | METHOD | OTHER | CLOSE))
"""What must be equal to _ONE_HOST in the sum of the codes of a head of each kind."""

_NAMED_HOST: Final = rb"Host: [A-Za-z0-9.-]++(?::[0-9]*+)?"
_EXACT: Final = TOKEN_FORM.pattern.encode()
_NAME: Final = rb"[A-Za-z0-9_~-][A-Za-z0-9._~-]*+"
"""A plain name. One that begins with a dot may be a dot segment, which http/targets.py removes."""
_MINTED: Final = rb"/download(?:(?:/(?!ct_)(%b))?\?token=(%b)|/(%b)/(%b)?)" % (_NAME, _EXACT, _EXACT, _NAME)
"""A minted URL of either form. Groups: the file and the token, or the token and the file."""
_FORWARDED_FOR: Final = rb"(?:X-Forwarded-For: (%b)\r\n)?" % TEXT
_OF_PROXIES: Final = (
    rb"(?:X-(?!(?i:forwarded|original)-)[A-Za-z0-9-]++: [\t -~\x80-\xff]*+\r\n"
    rb"|X-Forwarded-Proto: https?\r\n)"
)
"""A line that begins with `X-` and has no meaning here. Proxies put such lines right behind Host, and many
are different in each request (X-Real-IP, X-Amz-Cf-Id, X-Request-Id). As a part of the first expression they
cost 0.2 µs each, where a line that is not remembered costs 1 µs."""
_MOST_OF_PROXIES: Final = 4
_BEGINNING: Final = re.compile(
    rb"GET (?:%b HTTP/1\.1\r\n(%b\r\n(?:(\r\n\Z)|%b%b{0,%d}+))?|/auth HTTP/1\.1\r\n)"
    % (_MINTED, _NAMED_HOST, _FORWARDED_FOR, _OF_PROXIES, _MOST_OF_PROXIES)
)
_MINTED_URL: Final = re.compile(_MINTED)
_NGINX_LINES: Final = re.compile(
    rb"(%b\r\n)?%b(?:X-Original-URI: (%b)\r\n)?(X-Original-Method: GET\r\n)?"
    % (_NAMED_HOST, _FORWARDED_FOR, _MINTED)
)
"""The lines that nginx adds (config/nginx/auth_request.conf), which it sends first. Each may be missing."""
_MOST_READ: Final = 4 + _MOST_OF_PROXIES
"""How many lines behind the request line may be read before the block, or be taken out of it."""
_READ: Final = {
    (has_host, has_forwarded): HOST * has_host + FORWARDED * has_forwarded
    for has_host in (False, True)
    for has_forwarded in (False, True)
}
"""The codes of the lines that _BEGINNING has read."""
_ASKS: Final = b"GET /auth HTTP/1.1\r\n"
_ANY_LINE: Final = re.compile(rb"(GET|HEAD) (/(?:download|auth)[!-~]*+) HTTP/1\.1\r\n")

_new: Final = tuple.__new__
"""Makes a named tuple without the call of its own function: 0.2 µs a request."""


class PlainHead(NamedTuple):
    """A head of the first kind. Each is empty where there is none.

    forwarded: X-Forwarded-For. is_direct: the token stands in the path.
    """

    file: str
    token: str
    agent: str = ""
    range: str = ""
    accept: str = ""
    forwarded: str = ""
    is_direct: bool = False


class PlainQuestion(NamedTuple):
    """A head of the second kind. original: the target asked about.

    file, token: of a target that is a minted URL and nothing more; they are empty for any other target.
    """

    original: str
    file: str
    token: str
    agent: str = ""
    range: str = ""
    accept: str = ""
    forwarded: str = ""


class OtherHead(NamedTuple):
    """A head of the third kind. fields: those of FIELDS. keep_alive: what the client says."""

    method: str
    target: str
    fields: CIMultiDictProxy[str]
    keep_alive: bool


class HeadReader:
    """Reads heads, and remembers lines and blocks. A worker has one. cors: whether Origin matters."""

    def __init__(self, limits: HeadLimits, *, cors: bool) -> None:
        self.max_bytes = min(limits.max_head, limits.max_line, limits.max_field)
        self._max_lines = min(limits.max_headers, MAX_LINES) + 2
        lines = Lines(cors=cors)
        self._code = lines.__getitem__
        self._blocks = Blocks(lines, self._max_lines - 2 - _MOST_READ)

    def read(self, data: bytes) -> PlainHead | PlainQuestion | OtherHead | None:
        """Read `data` if it is exactly one head that can be read here, of at most max_bytes; else None."""
        match = _BEGINNING.match(data)
        if match is None:
            return self._read_other(data)
        file, token, direct, named, host, end, forwarded = match.groups()
        if direct is not None:
            file, token = named, direct
        elif token is None:
            return self._read_question(data) or self._read_other(data)
        is_direct = direct is not None
        if end is not None:
            return _new(PlainHead, (file.decode() if file else "", token.decode(), "", "", "", "", is_direct))
        block = self._blocks.read(data[match.end() - 2 :])
        if block is None:
            return self._read_other(data)
        total, agent, span, accept, said, _ = block
        if (total + _READ[host is not None, forwarded is not None]) & _PLAIN != _ONE_HOST:
            return self._read_other(data)
        if forwarded is not None:
            said = forwarded.decode()
        name = file.decode() if file else ""
        return _new(PlainHead, (name, token.decode(), agent, span, accept, said, is_direct))

    def _read_question(self, data: bytes) -> PlainQuestion | None:
        """Read a head of the second kind, which begins with _ASKS."""
        match = _NGINX_LINES.match(data, len(_ASKS))
        assert match is not None
        host, forwarded, original, file, token, direct, named, method = match.groups()
        block = self._blocks.read(data[match.end() - 2 :])
        if block is None:
            return None
        total, agent, span, accept, said, about = block
        if host:
            total += HOST
        if forwarded:
            total += FORWARDED
            said = forwarded.decode()
        if original:
            total += ABOUT
            about = original.decode()
        if method:
            total += METHOD
        if total & _QUESTION != _ONE_ABOUT:
            return None
        if not original:
            minted = _MINTED_URL.fullmatch(about.encode())
            file, token, direct, named = minted.groups() if minted is not None else (None,) * 4
        if direct is not None:
            file, token = named, direct
        name = file.decode() if file else ""
        plain = token.decode() if token else ""
        return _new(PlainQuestion, (about, name, plain, agent, span, accept, said))

    def _read_other(self, data: bytes) -> OtherHead | None:
        """Read a head of the third kind."""
        match = _ANY_LINE.match(data)
        if match is None or b"/." in match[2] or b"/%2" in match[2]:  # perhaps a dot segment
            return None
        lines = data[match.end() :].split(b"\r\n")
        if not 2 <= len(lines) <= self._max_lines or lines[-1] or lines[-2]:
            return None
        codes = [*map(self._code, lines)]
        total = sum(codes)
        if total & _OTHER != _ONE_HOST:
            return None
        fields = [_pair(line) for line, code in zip(lines, codes, strict=True) if code in MATTERS]
        method, target = match.groups()
        headers = CIMultiDictProxy(CIMultiDict(fields))
        return OtherHead(method.decode(), target.decode(), headers, keep_alive=total < CLOSE)


def _pair(line: bytes) -> tuple[str, str]:
    """The name and the value of a field, decoded as aiohttp's parser decodes them."""
    name, _, value = line.partition(b":")
    return name.decode(), value.strip(b" \t").decode("utf-8", "surrogateescape")
