"""What the lines of a request head mean, and a memory of those that repeat. Pure.

Most lines are the same in many requests: a browser's fields hardly ever change, nor do those of a CDN's
server. So the meaning of a line is remembered by its bytes, and costs one look-up. Other lines are different
in every request: an id, a time, a client's address. They are read anew each time, and must not push out those
that repeat. The rules:

- Each name has room for LINES_A_NAME lines. Lines beyond that are read, and not remembered. After RELEARN of
  them the lines of this name are forgotten, so that what is frequent now takes their place.
- A name that has no meaning here is remembered, too, with room for its lines. Its lines are skipped, and only
  their bytes are checked. There is room for NAMES such names and spellings, which are forgotten by the same
  rule.
- No line with more than MAX_REMEMBERED_LINE bytes is remembered, nor one that holds a token.

So all that is remembered takes less than MAX_MEMORY, whatever clients send.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

MAXTEXT: Final = 1024
"""The longest User-Agent, Accept and X-Forwarded-For of a plain head. Some are kept for the log."""
LINES_A_NAME: Final = 24
NAMES: Final = 96
RELEARN: Final = 8192
"""After so many lines that were not remembered, the lines of their name are learnt again."""
MAX_REMEMBERED_NAME: Final = 64
MAX_REMEMBERED_LINE: Final = 512
"""In bytes."""
MAX_MEMORY: Final = 2 * 1024 * 1024
"""Bytes that all lines and names take, with the tables that hold them."""

# What a line means: a number that is one in 7 bits of its own, so that a sum counts each meaning. Lines that
# are skipped are 0. All but the last two fit in a machine's word, which keeps sums cheap.
HOST: Final = 1
EMPTY: Final = 1 << 7
AGENT: Final = 1 << 14
RANGE: Final = 1 << 21
ACCEPT: Final = 1 << 28
FORWARDED: Final = 1 << 35
ABOUT: Final = 1 << 42  # X-Original-URI
METHOD: Final = 1 << 49  # X-Original-Method: GET
OTHER: Final = 1 << 56  # matters, and only an OtherHead can have it
CLOSE: Final = 1 << 63  # Connection: close
LEFT: Final = 1 << 70  # the head is left to aiohttp's parser

_TOKEN: Final = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]"
_FIELD: Final = re.compile(rb"(%b++):([\t -~\x80-\xff]*+)" % _TOKEN)
_CLOSES: Final = re.compile(rb"(?i:connection: close)")
RANGE_VALUE: Final = rb"bytes=[0-9]{1,18}-[0-9]{0,18}"
TEXT: Final = rb"[!-~](?:[ -~]{0,%d}[!-~])?" % (MAXTEXT - 2)
_CONTROLS: Final = bytes(0 if byte == 127 or (byte < 32 and byte != 9) else 32 for byte in range(256))
"""For bytes.translate: 0 for each byte that a value may not have. An expression takes four times as long."""


class _Field:
    """One name: what its lines mean, and those that are remembered.

    code: of a line in the usual form `Name: VALUE`, which is the only one that a plain head may have. usual:
    matches a value in that form; None: any value. unusual: the code of any other line. room: for how many
    lines. lines: the remembered ones. unknown: how many lines came that were not remembered.
    """

    __slots__ = ("code", "lines", "room", "unknown", "unusual", "usual")

    def __init__(self, code: int, usual: bytes | None, unusual: int, room: int) -> None:
        self.code = code
        self.usual: Callable[[bytes], Any] | None = None if usual is None else re.compile(usual).fullmatch
        self.unusual = unusual
        self.room = room
        self.lines: list[bytes] = []
        self.unknown = 0


_MEANINGS: Final[dict[bytes, tuple[int, bytes | None, int, int]]] = {
    b"host": (HOST, rb"[A-Za-z0-9.-]++(?::[0-9]*+)?", LEFT, LINES_A_NAME),
    b"user-agent": (AGENT, TEXT, LEFT, LINES_A_NAME),
    b"accept": (ACCEPT, TEXT, OTHER, LINES_A_NAME),
    b"range": (RANGE, RANGE_VALUE, OTHER, LINES_A_NAME),
    b"x-forwarded-for": (FORWARDED, TEXT, OTHER, LINES_A_NAME),
    b"x-original-uri": (ABOUT, rb"[!-~]++", OTHER, 0),
    b"x-original-method": (METHOD, rb"GET", OTHER, LINES_A_NAME),
    b"connection": (0, rb"(?i:keep-alive)", LEFT, LINES_A_NAME),
    **dict.fromkeys(
        (
            *(b"if-match", b"if-none-match", b"if-modified-since", b"if-unmodified-since", b"if-range"),
            *(b"authorization", b"origin", b"forwarded", b"x-forwarded-uri", b"x-forwarded-method"),
        ),
        (OTHER, None, OTHER, 0),
    ),
    **dict.fromkeys(
        (
            *(b"content-length", b"transfer-encoding", b"expect", b"upgrade", b"proxy-connection"),
            *(b"content-location", b"content-range", b"content-type", b"etag", b"max-forwards", b"server"),
            b"sec-websocket-key1",
        ),
        (LEFT, None, LEFT, 0),
    ),
}
"""The fields that are not skipped: the arguments of _Field."""
_SKIPPED: Final = (0, None, 0, LINES_A_NAME)

MATTERS: Final = frozenset((AGENT, RANGE, ACCEPT, FORWARDED, ABOUT, METHOD, OTHER))
FIELDS: Final = frozenset(name.decode() for name, meaning in _MEANINGS.items() if meaning[0] in MATTERS)
"""The names, in small letters, of the fields that an OtherHead has."""


class Lines(dict[bytes, int]):
    """The code of each line that is remembered; a line that is not is read when it is looked up.

    cors: whether Origin matters.
    """

    def __init__(self, *, cors: bool) -> None:
        super().__init__({b"": EMPTY})
        self._known = {name: _Field(*meaning) for name, meaning in _MEANINGS.items()}
        if not cors:
            del self._known[b"origin"]
        self._names: dict[bytes, _Field] = {}
        self._unknown_names = 0

    def __missing__(self, line: bytes) -> int:
        name, space, value = line.partition(b": ")
        field = self._names.get(name)
        if field is None or not space:
            return self._read_new(line)
        if field.usual is None:
            if 0 in value.translate(_CONTROLS):
                return LEFT
        elif field.usual(value) is None:
            return self._read_unusual(field, line)
        field.unknown = unknown = field.unknown + 1
        if unknown <= field.room:
            if len(line) <= MAX_REMEMBERED_LINE:
                self[line] = field.code
                field.lines.append(line)
        elif unknown > RELEARN:
            self._forget(field)
        return field.code

    def _read_unusual(self, field: _Field, line: bytes) -> int:
        """Read a line that has not the usual form of its field."""
        if _FIELD.fullmatch(line) is None:
            return LEFT
        return CLOSE if _CLOSES.fullmatch(line) else field.unusual

    def _read_new(self, line: bytes) -> int:
        """Read a line whose name is not remembered, and remember the name."""
        match = _FIELD.fullmatch(line)
        if match is None:
            return LEFT
        name = match[1]
        field = self._known.get(name.lower())
        is_usual = line.startswith(b": ", len(name))
        if len(self._names) < NAMES:
            if is_usual and len(name) <= MAX_REMEMBERED_NAME:
                self._names[name] = field or _Field(*_SKIPPED)
                return self.__missing__(line)
        else:
            self._unknown_names += 1
            if self._unknown_names > RELEARN:
                self._forget_all()
        if field is None:
            return 0
        if is_usual and (field.usual is None or field.usual(line[len(name) + 2 :])):
            return field.code
        return CLOSE if _CLOSES.fullmatch(line) else field.unusual

    def _forget(self, field: _Field) -> None:
        """Forget the lines of one name."""
        for line in field.lines:
            del self[line]
        field.lines.clear()
        field.unknown = 0

    def _forget_all(self) -> None:
        """Forget all lines and names."""
        self.clear()
        self[b""] = EMPTY
        for field in self._known.values():
            field.lines.clear()
            field.unknown = 0
        self._names.clear()
        self._unknown_names = 0
