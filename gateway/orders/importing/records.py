"""The records of a CSV file (RFC 4180), one after the other, each with the line where it begins.

Rules:

1. Text is UTF-8, with a byte order mark or without. Bytes that are not are kept as lone surrogates, so that
   the cell that has them can be named; a file in UTF-16 is refused.
2. Lines end with LF, CRLF or CR. A quoted cell may have line breaks. Empty lines are none.
3. A quote that is opened and not closed swallows no more than a record may have: what follows it is read
   again as records of its own, so that each further fault is found.
4. Memory is bounded, whatever the file is: a longer line, or record, is a fault.
"""

from __future__ import annotations

import csv
import io
from collections import deque
from collections.abc import Iterator
from typing import Final, NamedTuple

from gateway.orders.importing.columns import Fault

MAX_LINE: Final = 32 * 1024
"""Characters of one line. The cells that are looked at have at most 1,000 each."""
MAX_RECORD: Final = 64 * 1024
MAX_RECORD_LINES: Final = 100
"""A record with more is taken for one whose quote was not closed."""
_UTF16: Final = (b"\xff\xfe", b"\xfe\xff")


class NotText(Exception):
    """The file is no UTF-8 at all. Its text says so."""


class Record(NamedTuple):
    """One row. line: where it begins, from 1."""

    line: int
    cells: list[str]


class _Endless(Exception):
    """A record does not end within its bounds."""


class _LongLine(Exception):
    """A line does not end within its bound."""


def open_text(file: io.RawIOBase) -> io.TextIOWrapper:
    """Read a file as text. Raises NotText."""
    buffered = io.BufferedReader(file)
    if buffered.peek(2)[:2] in _UTF16:
        raise NotText("the file is UTF-16, as Excel's `Unicode Text`: save it as `CSV UTF-8`")
    return io.TextIOWrapper(buffered, "utf-8-sig", errors="surrogateescape", newline="")


class Records:
    """Iterates over the records of a text, and over the faults between them."""

    def __init__(self, text: io.TextIOWrapper) -> None:
        self._text = text
        self._back: deque[str] = deque()
        self._taken: list[str] = []
        self.line = 0
        """How many lines were taken."""

    def peek_line(self) -> str | None:
        """The first line that is not empty, which is not taken yet. None at the end of the file."""
        while not self._back:
            try:
                line = self._read()
            except _LongLine:
                return ""
            if not line:
                return None
            if line.strip():
                self._back.append(line)
            else:
                self.line += 1
        return self._back[0]

    def skip_line(self) -> None:
        """Leave out the line of `peek_line`."""
        self._back.popleft()
        self.line += 1

    def read(self, separator: str) -> Iterator[Record | Fault]:
        """Iterate over what is left."""
        reader = csv.reader(self, delimiter=separator, strict=True)
        while True:
            self._taken.clear()
            start = self.line + 1
            try:
                cells = next(reader)
            except StopIteration:
                return
            except _LongLine:
                yield Fault(start, f"the line has more than {MAX_LINE} characters")
            except (_Endless, csv.Error):
                yield Fault(start, self._quote_fault())
                self._give_back()
            else:
                if any(cell and not cell.isspace() for cell in cells):
                    yield Record(start, cells)

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        """The next line, for the reader of the standard library."""
        if self._taken and (len(self._taken) >= MAX_RECORD_LINES or sum(map(len, self._taken)) > MAX_RECORD):
            raise _Endless
        try:
            line = self._back.popleft() if self._back else self._read()
        except _LongLine:
            if self._taken:  # it begins with an open quote: this line is looked at by itself
                self._back.append("\n")
                raise _Endless from None
            self.line += 1
            raise
        if not line:
            raise StopIteration
        self._taken.append(line)
        self.line += 1
        return line

    def _read(self) -> str:
        line = self._text.readline(MAX_LINE + 1)
        if len(line) <= MAX_LINE:
            return line
        while line and line[-1] not in "\r\n":
            line = self._text.readline(MAX_LINE)
        raise _LongLine

    def _give_back(self) -> None:
        """Read all lines of the record but the first again."""
        self._back.extendleft(reversed(self._taken[1:]))
        self.line -= len(self._taken) - 1

    def _quote_fault(self) -> str:
        if self._taken and self._taken[0].count('"') % 2:
            return "a quote is opened and not closed, or has text beside it"
        return 'after a quote that closes there must be a separator: write a quote in a text as ""'
