"""What all lines of a request head that are left mean together, and a memory of such blocks. Pure.

A reader of heads takes what stands at the beginning of a head by one expression: the request line, and what
front proxies put right behind it. What is left is called a block here. Much of it repeats from one request to
the next: all visitors who use one version of a browser, in one language, send the same block, and so does
each version of a download manager. So what a block means is remembered by its bytes, and costs one look-up
instead of one for each line. The rules:

- Range and X-Forwarded-For are different in each request. Where a block with them is not remembered, they are
  taken out, and what is left is looked up once more.
- A block is remembered when it comes for the second time, so that blocks which are different in each request
  (a cookie, a trace) take no room. To notice this, the hashes of up to CANDIDATES blocks are kept.
- A block is never remembered if it has more than MAX_BLOCK bytes, a field that may hold a key, or a token.
- There is room for BLOCKS of them. After RELEARN blocks that were not remembered all are forgotten, so that
  what is frequent now takes their place.

So all blocks take less than MAX_MEMORY, whatever clients send.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from gateway.http.head_lines import (
    ABOUT,
    ACCEPT,
    AGENT,
    EMPTY,
    FORWARDED,
    HOST,
    LEFT,
    METHOD,
    RANGE,
    RANGE_VALUE,
    TEXT,
    Lines,
)
from gateway.secrets import TOKEN_PREFIX

BLOCKS: Final = 512
"""Of a few hundred versions and languages of browsers most visitors have one."""
CANDIDATES: Final = 1024
MAX_BLOCK: Final = 1536
"""In bytes. The largest block of a browser has 900."""
RELEARN: Final = 8192
"""After so many blocks that were not remembered, all are learnt again."""
MAX_MEMORY: Final = 2 * 1024 * 1024
"""Bytes that all blocks take, with what they mean and the table that holds them."""

_UNUSUAL: Final = 128 * LEFT - 1 - 127 * (HOST | EMPTY | AGENT | ACCEPT | METHOD)
"""A block whose total has one of these bits is not remembered."""
_FORWARDED_NAME: Final = b"\r\nX-Forwarded-For: "
_RANGE_NAME: Final = b"\r\nRange: "
_forwarded_line: Final = re.compile(rb"%b(%b)(?=\r\n)" % (_FORWARDED_NAME, TEXT)).match
_range_line: Final = re.compile(rb"%b(%b)(?=\r\n)" % (_RANGE_NAME, RANGE_VALUE)).match
_TOKEN: Final = TOKEN_PREFIX.encode()
_new: Final = tuple.__new__
"""Makes a named tuple without the call of its own function."""


class Block(NamedTuple):
    """What a block means. Each text is empty where there is none.

    total: the sum of the codes of its lines; it counts each meaning, also one that may stand only once.
    agent, range, accept, forwarded, about: the values of User-Agent, Range, Accept, X-Forwarded-For and
    X-Original-URI, where total counts one.
    """

    total: int
    agent: str = ""
    range: str = ""
    accept: str = ""
    forwarded: str = ""
    about: str = ""


class Blocks(dict[bytes, Block]):
    """The blocks that are remembered.

    lines: of the same reader. max_lines: a block of more lines is not read.
    """

    def __init__(self, lines: Lines, max_lines: int) -> None:
        super().__init__()
        self._lines = lines
        self._max_parts = max_lines + 2  # split at CRLF, a block ends with two empty parts
        self._candidates: set[int] = set()
        self._unknown = 0

    def read(self, block: bytes) -> Block | None:
        """Read a block that begins with the CRLF of the line before it, and ends with an empty line.

        Returns None where it is to be left to aiohttp's parser, or is not a block.
        """
        found = self.get(block)
        if found is not None:
            return found
        forwarded = span = ""
        taken = 0
        start = block.find(_FORWARDED_NAME)
        if start >= 0 and (match := _forwarded_line(block, start)) is not None:
            block = block[:start] + block[match.end() :]
            taken, forwarded = FORWARDED, match[1].decode()
        start = block.find(_RANGE_NAME)
        if start >= 0 and (match := _range_line(block, start)) is not None:
            block = block[:start] + block[match.end() :]
            taken, span = taken + RANGE, match[1].decode()
        if not taken:
            return self._read_lines(block)
        found = self.get(block) or self._read_lines(block)
        if found is None or found.total & taken:
            return None  # there is one more of them
        total, agent, other_span, accept, other_forwarded, about = found
        return _new(
            Block,
            (total + taken, agent, span or other_span, accept, forwarded or other_forwarded, about),
        )

    def _read_lines(self, block: bytes) -> Block | None:
        """Read a block line by line, and remember it, if it may be."""
        lines = block[2:].split(b"\r\n")
        if not 2 <= len(lines) <= self._max_parts or lines[-1] or lines[-2]:
            return None
        codes = [*map(self._lines.__getitem__, lines)]
        total = sum(codes)
        if total >= LEFT:
            return None
        found = Block(
            total,
            lines[codes.index(AGENT)][12:].decode() if total & AGENT else "",
            lines[codes.index(RANGE)][7:].decode() if total & RANGE else "",
            lines[codes.index(ACCEPT)][8:].decode() if total & ACCEPT else "",
            lines[codes.index(FORWARDED)][17:].decode() if total & FORWARDED else "",
            lines[codes.index(ABOUT)][16:].decode() if total & ABOUT else "",
        )
        if not total & _UNUSUAL:
            self._consider(block, found)
        return found

    def _consider(self, block: bytes, found: Block) -> None:
        """Remember a block, if it has come before and there is room."""
        if len(self) >= BLOCKS:
            self._unknown += 1
            if self._unknown > RELEARN:
                self.clear()
                self._unknown = 0
            return
        known = hash(block)
        if known not in self._candidates:
            if len(self._candidates) >= CANDIDATES:
                self._candidates.clear()
            self._candidates.add(known)
        elif len(block) <= MAX_BLOCK and _TOKEN not in block:
            self[block] = found
