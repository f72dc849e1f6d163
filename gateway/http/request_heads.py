"""Reads the heads of downloads and of front proxies' questions, without a parser: what matters in them.

A head is read here if it is well-formed and asks, by GET or HEAD in HTTP/1.1, for `/download…` or `/auth…`.
Its fields may be any, in any order. Three things may come of it:

    PlainHead      GET of a minted URL, `/download[/NAME]?token=ct_…` or `/download/ct_…/[NAME]`, with nothing
                   in NAME encoded, a token of the exact form, without conditions and with at most one range
    PlainQuestion  `GET /auth` with one X-Original-URI, as nginx asks (config/nginx/auth_request.conf), and
                   otherwise as above. Whether the sender is a trusted proxy is not decided here
    OtherHead      every other one: its method, its target, and those of its fields that matter

The rules:

- Lines are split at CRLF. A line is a token, a colon, and any bytes but control characters (RFC 9112 section
  5). A field that has no meaning here (FIELDS) is skipped, whatever its value is.
- A head of which more would have to be understood is left to aiohttp's parser: with a body, an upgrade or an
  expectation, or with one of the names that may stand only once and have no meaning here. So is every head
  with a fault: the parser and `framing.check_head` refuse it.
- What is read here is never read differently by aiohttp's parser; tests/http/test_heads_like_aiohttp.py
  compares the two.

Most lines are the same in many requests: a browser's fields hardly ever change, nor do those of a CDN's
server. So the meaning of a line is remembered, by its bytes, and a head of fourteen lines costs one split and
fourteen look-ups, 1.5 µs in all. Only lines that are unknown are read by an expression. MAX_REMEMBERED and
MAX_REMEMBERED_LINE bound what is kept; lines whose value is another one in every request are not kept.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from multidict import CIMultiDict, CIMultiDictProxy

from gateway.http.framing import HeadLimits
from gateway.secrets import TOKEN_FORM

MAX_LINES: Final = 120
"""The most fields of a head that is read here. More would not fit in the 7 bits that count each meaning."""
MAX_REMEMBERED: Final = 1024
MAX_REMEMBERED_LINE: Final = 512
"""So many lines of so many bytes are remembered. When there are more, all are forgotten, and learnt again."""
MAX_TEXT: Final = 1024
"""The longest User-Agent, Accept and X-Forwarded-For of a plain head. Some are kept for the log."""

# What a line means: a number that is one in 7 bits of its own, so that a sum counts each meaning. Lines that
# are skipped are 0. All but the last two fit in a machine's word, which keeps sums cheap.
_HOST: Final = 1
_EMPTY: Final = 1 << 7
_AGENT: Final = 1 << 14
_RANGE: Final = 1 << 21
_ACCEPT: Final = 1 << 28
_FORWARDED: Final = 1 << 35
_ABOUT: Final = 1 << 42  # X-Original-URI
_METHOD: Final = 1 << 49  # X-Original-Method: GET
_OTHER: Final = 1 << 56  # matters, and only an OtherHead can have it
_CLOSE: Final = 1 << 63  # Connection: close
_LEFT: Final = 1 << 70  # the head is left to aiohttp's parser

_ONE_HOST: Final = _HOST | 2 * _EMPTY
"""A head has one Host, and, split at CRLF, two empty lines at its end."""
_ONCE: Final = 0x3FFF
_NOT_PLAIN: Final = ~(_ONE_HOST | _AGENT | _RANGE | _ACCEPT | _FORWARDED)
_NOT_QUESTION: Final = _NOT_PLAIN & ~(_ABOUT | _METHOD)
_MATTERS: Final = frozenset((_AGENT, _RANGE, _ACCEPT, _FORWARDED, _ABOUT, _METHOD, _OTHER))

_TOKEN: Final = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]"
_FIELD: Final = re.compile(rb"(%b++):([\t -~\x80-\xff]*+)" % _TOKEN)
_TEXT: Final = rb"[!-~](?:[ -~]{0,%d}[!-~])?" % (MAX_TEXT - 2)
_NAMED_HOST: Final = rb"Host: [A-Za-z0-9.-]++(?::[0-9]*+)?"


class _Meaning(NamedTuple):
    """What a field means.

    code: of a line in the usual form, which is the only one that a plain head may have; `unusual`: of any
    other. kept: whether such lines are remembered.
    """

    code: int
    usual: re.Pattern[bytes] = re.compile(rb".*")
    unusual: int = 0
    kept: bool = False


def _usual(code: int, line: bytes, unusual: int = _OTHER, *, kept: bool = False) -> _Meaning:
    return _Meaning(code, re.compile(b"(?i:" + line), unusual, kept)


_SKIPPED: Final = _Meaning(0, kept=True)
_MEANINGS: Final[dict[bytes, _Meaning]] = {
    b"host": _usual(_HOST, rb"host): [A-Za-z0-9.-]++(?::[0-9]*+)?", _LEFT, kept=True),
    b"user-agent": _usual(_AGENT, rb"user-agent): %b" % _TEXT, _LEFT, kept=True),
    b"accept": _usual(_ACCEPT, rb"accept): %b" % _TEXT, kept=True),
    b"range": _usual(_RANGE, rb"range): bytes=[0-9]{1,18}-[0-9]{0,18}"),
    b"x-forwarded-for": _usual(_FORWARDED, rb"x-forwarded-for): %b" % _TEXT, kept=True),
    b"x-original-uri": _usual(_ABOUT, rb"x-original-uri): [!-~]++"),
    b"x-original-method": _usual(_METHOD, rb"x-original-method): GET", kept=True),
    b"connection": _usual(0, rb"connection: keep-alive)", _LEFT, kept=True),
    **dict.fromkeys(
        (
            *(b"if-match", b"if-none-match", b"if-modified-since", b"if-unmodified-since", b"if-range"),
            *(b"authorization", b"origin", b"forwarded", b"x-forwarded-uri", b"x-forwarded-method"),
        ),
        _Meaning(_OTHER),
    ),
    **dict.fromkeys(
        (
            *(b"content-length", b"transfer-encoding", b"expect", b"upgrade", b"proxy-connection"),
            *(b"content-location", b"content-range", b"content-type", b"etag", b"max-forwards", b"server"),
            b"sec-websocket-key1",
        ),
        _Meaning(_LEFT),
    ),
}
"""The fields that are not skipped."""
_USUAL_NAMES: Final = {
    spelled: _MEANINGS[spelled.lower()]
    for name in (b"Range", b"X-Forwarded-For", b"X-Original-URI", b"User-Agent", b"Accept", b"Host")
    for spelled in (name, name.lower())
}
"""Some of them as clients write them: those whose lines are often unknown."""
FIELDS: Final = frozenset(name.decode() for name, meaning in _MEANINGS.items() if meaning.code in _MATTERS)
"""The names, in small letters, of the fields that an OtherHead has."""

_EXACT: Final = TOKEN_FORM.pattern.encode()
_NAME: Final = rb"[A-Za-z0-9_~-][A-Za-z0-9._~-]*+"
"""A plain name. One that begins with a dot may be a dot segment, which http/targets.py removes."""
_MINTED: Final = rb"/download(?:/(?!ct_)(%b))?\?token=(%b)" % (_NAME, _EXACT)
_DIRECT: Final = rb"/download/(%b)/(%b)?" % (_EXACT, _NAME)
_AFTER_URL: Final = rb" HTTP/1\.1\r\n(%b\r\n(\r\n\Z)?)?" % _NAMED_HOST
_DOWNLOAD: Final = re.compile(b"GET " + _MINTED + _AFTER_URL)
_DIRECT_DOWNLOAD: Final = re.compile(b"GET " + _DIRECT + _AFTER_URL)
_MINTED_URL: Final = re.compile(_MINTED)
_DIRECT_URL: Final = re.compile(_DIRECT)
_QUESTION: Final = b"GET /auth HTTP/1.1\r\n"
_ANY_LINE: Final = re.compile(rb"(GET|HEAD) (/(?:download|auth)[!-~]*+) HTTP/1\.1\r\n")
_CLOSES: Final = re.compile(rb"(?i:connection: close)")

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


class _Lines(dict[bytes, int]):
    """The code of each line that is remembered; a line that is not is read when it is looked up."""

    def __init__(self, *, cors: bool) -> None:
        super().__init__({b"": _EMPTY})
        self._meanings = dict(_MEANINGS)
        if not cors:
            del self._meanings[b"origin"]

    def __missing__(self, line: bytes) -> int:
        usual = _USUAL_NAMES.get(line[: line.find(b":")])
        if usual is not None and usual.usual.fullmatch(line) is not None:  # saves the general expression
            meaning = usual
        else:
            match = _FIELD.fullmatch(line)
            if match is None:
                return _LEFT
            meaning = self._meanings.get(match[1].lower(), _SKIPPED)
            if meaning.usual.fullmatch(line) is None:
                return _CLOSE if _CLOSES.fullmatch(line) else meaning.unusual
        code = meaning.code
        if meaning.kept and len(line) <= MAX_REMEMBERED_LINE:
            if len(self) >= MAX_REMEMBERED:
                self.clear()
                self[b""] = _EMPTY
            self[line] = code
        return code


class HeadReader:
    """Reads heads, and remembers lines. A worker has one. cors: whether Origin matters."""

    def __init__(self, limits: HeadLimits, *, cors: bool) -> None:
        self.max_bytes = min(limits.max_head, limits.max_line, limits.max_field)
        self._max_lines = min(limits.max_headers, MAX_LINES) + 2
        self._code = _Lines(cors=cors).__getitem__

    def read(self, data: bytes) -> PlainHead | PlainQuestion | OtherHead | None:
        """Read `data` if it is exactly one head that can be read here, of at most max_bytes; else None."""
        match = _DOWNLOAD.match(data)
        is_direct = False
        if match is not None:
            file, token, host, end = match.groups()
        else:
            match = _DIRECT_DOWNLOAD.match(data)
            if match is None:
                question = self._read_question(data) if data.startswith(_QUESTION) else None
                return question or self._read_other(data)
            token, file, host, end = match.groups()
            is_direct = True
        if end is not None:
            return _new(PlainHead, (file.decode() if file else "", token.decode(), "", "", "", "", is_direct))
        lines = data[match.end() :].split(b"\r\n")
        if len(lines) > self._max_lines:
            return None
        codes = [*map(self._code, lines)]
        total = sum(codes) if host is None else sum(codes, _HOST)
        if total & _NOT_PLAIN or total & _ONCE != _ONE_HOST or lines[-1] or lines[-2]:
            return self._read_other(data)
        return _new(
            PlainHead,
            (
                file.decode() if file else "",
                token.decode(),
                lines[codes.index(_AGENT)][12:].decode() if total & _AGENT else "",
                lines[codes.index(_RANGE)][7:].decode() if total & _RANGE else "",
                lines[codes.index(_ACCEPT)][8:].decode() if total & _ACCEPT else "",
                lines[codes.index(_FORWARDED)][17:].decode() if total & _FORWARDED else "",
                is_direct,
            ),
        )

    def _read_question(self, data: bytes) -> PlainQuestion | None:
        """Read a head of the second kind, which begins with _QUESTION."""
        lines = data[len(_QUESTION) :].split(b"\r\n")
        if len(lines) > self._max_lines:
            return None
        codes = [*map(self._code, lines)]
        total = sum(codes)
        if (
            total & _NOT_QUESTION
            or total & _ONCE != _ONE_HOST
            or not total & _ABOUT
            or lines[-1]
            or lines[-2]
        ):
            return None
        original = lines[codes.index(_ABOUT)][16:]
        file = token = b""
        if (minted := _MINTED_URL.fullmatch(original)) is not None:
            file, token = minted.groups(b"")
        elif (direct := _DIRECT_URL.fullmatch(original)) is not None:
            token, file = direct.groups(b"")
        return _new(
            PlainQuestion,
            (
                original.decode(),
                file.decode(),
                token.decode(),
                lines[codes.index(_AGENT)][12:].decode() if total & _AGENT else "",
                lines[codes.index(_RANGE)][7:].decode() if total & _RANGE else "",
                lines[codes.index(_ACCEPT)][8:].decode() if total & _ACCEPT else "",
                lines[codes.index(_FORWARDED)][17:].decode() if total & _FORWARDED else "",
            ),
        )

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
        if total >= _LEFT or total & _ONCE != _ONE_HOST or (total // _AGENT) & 127 > 1:
            return None
        fields = [_pair(line) for line, code in zip(lines, codes, strict=True) if code in _MATTERS]
        method, target = match.groups()
        headers = CIMultiDictProxy(CIMultiDict(fields))
        return OtherHead(method.decode(), target.decode(), headers, keep_alive=total < _CLOSE)


def _pair(line: bytes) -> tuple[str, str]:
    """The name and the value of a field, decoded as aiohttp's parser decodes them."""
    name, _, value = line.partition(b":")
    return name.decode(), value.strip(b" \t").decode("utf-8", "surrogateescape")
