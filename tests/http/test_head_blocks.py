"""What a block of lines means, and which blocks are remembered."""

from __future__ import annotations

import gc
import tracemalloc

import pytest

from gateway.http import head_blocks
from gateway.http.head_blocks import BLOCKS, CANDIDATES, MAX_BLOCK, RELEARN, Block, Blocks
from gateway.http.head_lines import ACCEPT, AGENT, EMPTY, FORWARDED, HOST, RANGE, Lines
from tests.support.rows import each_row

BROWSER = b"\r\nUser-Agent: Mozilla/5.0\r\nAccept: */*\r\nsec-ch-ua-mobile: ?0\r\n\r\n"
ALL = 2 * EMPTY + AGENT + ACCEPT
SPAN = b"\r\nRange: bytes=5-9"
CLIENT = b"\r\nX-Forwarded-For: 192.0.2.1, 10.0.0.1"
LINES = 20


@pytest.fixture
def blocks() -> Blocks:
    return Blocks(Lines(cors=False), LINES)


def put(block: bytes, *lines: bytes) -> bytes:
    """Put lines in the middle of a block."""
    first, second = block.split(b"\r\nAccept", 1)
    return b"".join((first, *lines, b"\r\nAccept", second))


READ = [
    ("a browser", BROWSER, Block(ALL, "Mozilla/5.0", "", "*/*")),
    ("no line", b"\r\n\r\n", Block(2 * EMPTY)),
    ("a host", put(BROWSER, b"\r\nHost: x"), Block(ALL + HOST, "Mozilla/5.0", "", "*/*")),
    ("a range", put(BROWSER, SPAN), Block(ALL + RANGE, "Mozilla/5.0", "bytes=5-9", "*/*")),
    (
        "a client",
        put(BROWSER, CLIENT),
        Block(ALL + FORWARDED, "Mozilla/5.0", "", "*/*", "192.0.2.1, 10.0.0.1"),
    ),
    (
        "a client and a range",
        put(BROWSER, SPAN, CLIENT),
        Block(ALL + RANGE + FORWARDED, "Mozilla/5.0", "bytes=5-9", "*/*", "192.0.2.1, 10.0.0.1"),
    ),
    (
        "a range in small letters",
        put(BROWSER, SPAN.lower()),
        Block(ALL + RANGE, "Mozilla/5.0", "bytes=5-9", "*/*"),
    ),
    ("two ranges in different letters", put(BROWSER, SPAN, SPAN.lower()), None),
    ("two ranges", put(BROWSER, SPAN, SPAN), None),
    ("two clients", put(BROWSER, CLIENT, CLIENT), None),
    ("no end", BROWSER[:-2], None),
    ("a range without an end", BROWSER[:-4] + SPAN, None),
    ("more behind the end", BROWSER + b"x", None),
    ("a body", put(BROWSER, b"\r\nContent-Length: 3"), None),
    ("no colon", put(BROWSER, b"\r\nabc"), None),
    ("too many lines", put(BROWSER, b"\r\nA: b" * LINES), None),
]


@each_row(("block", "expected"), [row[1:] for row in READ], ids=[row[0] for row in READ])
def test_a_block_is_read_in_the_same_way_when_it_is_remembered(
    blocks: Blocks, block: bytes, expected: Block | None
) -> None:
    for _ in range(4):
        assert blocks.read(block) == expected


def test_a_block_that_comes_twice_is_remembered_without_what_differs(blocks: Blocks) -> None:
    blocks.read(BROWSER)
    assert not blocks
    for number in range(9):
        blocks.read(
            put(BROWSER, b"\r\nRange: bytes=%d-" % number, b"\r\nX-Forwarded-For: 192.0.2.%d" % number)
        )
    assert [*blocks] == [BROWSER]


DIFFERENT = [
    ("a session", b"\r\nCookie: session=%d"),
    ("a trace", b"\r\ntraceparent: 00-%032x-0000000000000001-01"),
    ("a request's id", b"\r\nX-Request-Id: %032x"),
    ("a page before", b"\r\nReferer: https://shop.example/orders/%d"),
]


@each_row("line", [row[1] for row in DIFFERENT], ids=[row[0] for row in DIFFERENT])
def test_blocks_that_are_different_each_time_take_no_room(blocks: Blocks, line: bytes) -> None:
    for number in range(2 * CANDIDATES):
        blocks.read(put(BROWSER, line % number))
        if number % 100 == 0:
            blocks.read(BROWSER)
    assert [*blocks] == [BROWSER]


def test_what_is_frequent_now_is_learnt_in_place_of_what_was(blocks: Blocks) -> None:
    for number in range(BLOCKS):
        for _ in range(2):
            blocks.read(put(BROWSER, b"\r\nOld: %d" % number))
    for _ in range(RELEARN):
        blocks.read(BROWSER)
    assert len(blocks) == BLOCKS
    for _ in range(3):
        blocks.read(BROWSER)
    assert [*blocks] == [BROWSER]


NOT_REMEMBERED = [
    ("a token", b"\r\nReferer: https://a.example/download/ct_abc/"),
    ("a key", b"\r\nAuthorization: Bearer gk_abc"),
    ("a question", b"\r\nX-Original-URI: /download?token=ct_abc"),
    ("a condition", b'\r\nIf-None-Match: "a"'),
    ("a range in small letters", SPAN.lower()),
    ("a long line", b"\r\nCookie: " + b"a" * MAX_BLOCK),
    ("the end of the connection", b"\r\nConnection: close"),
]


@each_row("line", [row[1] for row in NOT_REMEMBERED], ids=[row[0] for row in NOT_REMEMBERED])
def test_some_blocks_are_never_remembered(blocks: Blocks, line: bytes) -> None:
    for _ in range(3):
        assert blocks.read(put(BROWSER, line)) is not None
    assert not blocks


@pytest.mark.slow
def test_what_is_remembered_is_bounded(blocks: Blocks) -> None:
    """With the longest blocks and texts, which strangers may choose."""
    for _ in range(3):
        blocks.read(BROWSER)
    gc.collect()
    tracemalloc.start()
    try:
        for number in range(2 * BLOCKS + CANDIDATES):
            beginning = b"\r\nUser-Agent: %d" % number
            block = beginning.ljust(MAX_BLOCK // 2, b"a") + b"\r\nAccept: "
            block = block.ljust(MAX_BLOCK - 4, b"a") + b"\r\n\r\n"
            for _ in range(2):
                found = blocks.read(block)
            assert found is not None
            assert len(found.agent) > MAX_BLOCK // 3 < len(found.accept)
        kept = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert len(blocks) == BLOCKS
    assert max(map(len, blocks)) == MAX_BLOCK
    assert kept < head_blocks.MAX_MEMORY
