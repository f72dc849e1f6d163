"""What lines mean, and which of them are remembered."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Iterator

import pytest

from gateway.http import head_lines
from gateway.http.head_lines import EMPTY, LINES_A_NAME, NAMES, RELEARN, Lines

BROWSER = [
    b"Host: downloads.example.com",
    b"User-Agent: Mozilla/5.0 (X11; Linux x86_64)",
    b"Accept: */*",
    b"Accept-Encoding: gzip, deflate, br, zstd",
    b'sec-ch-ua: "Chromium";v="156"',
    b"Connection: keep-alive",
]
DIFFERENT = {
    "a request's id of a CDN": b"X-Amz-Cf-Id: %056d",
    "of a proxy": b"X-Request-Id: %032x",
    "a trace": b"traceparent: 00-%032x-0000000000000001-01",
    "a session": b"Cookie: session=%d",
    "a client's address": b"X-Real-IP: 2001:db8::%x",
    "a list of addresses": b"X-Forwarded-For: 2001:db8::%x, 192.0.2.1",
    "an agent": b"User-Agent: invented/%d",
    "a range": b"Range: bytes=%d-",
}


@pytest.fixture
def lines() -> Lines:
    return Lines(cors=False)


@pytest.mark.parametrize("line", DIFFERENT.values(), ids=DIFFERENT)
def test_lines_that_differ_each_time_push_out_none_that_repeat(lines: Lines, line: bytes) -> None:
    for repeated in BROWSER:
        lines[repeated]
    for number in range(RELEARN - 10):
        lines[line % number]
        assert all(repeated in lines for repeated in BROWSER)
    name = line.partition(b":")[0]
    assert len([each for each in lines if each.startswith(name)]) <= LINES_A_NAME


def test_what_is_frequent_now_is_learnt_in_place_of_what_was(lines: Lines) -> None:
    for number in range(RELEARN + 1):
        lines[b"User-Agent: invented/%d" % number]
    lines[BROWSER[1]]
    assert BROWSER[1] in lines
    assert b"User-Agent: invented/0" not in lines


def test_names_are_learnt_anew_when_there_were_too_many(lines: Lines) -> None:
    for number in range(NAMES):
        lines[b"X-Invented-%d: a" % number]
    for repeated in BROWSER:
        lines[repeated]
    assert not any(repeated in lines for repeated in BROWSER)
    for number in range(RELEARN + 1):
        lines[b"X-Also-%d: a" % number]
    for repeated in BROWSER:
        lines[repeated]
    assert all(repeated in lines for repeated in BROWSER)


NOT_REMEMBERED = {
    "a token": b"X-Original-URI: /download?token=ct_abc",
    "a key": b"Authorization: Bearer gk_abc",
    "a condition": b'If-None-Match: "a"',
    "a long line": b"Cookie: " + b"a" * head_lines.MAX_REMEMBERED_LINE,
    "a long name": b"a" * (head_lines.MAX_REMEMBERED_NAME + 1) + b": b",
    "a body": b"Content-Length: 3",
    "no colon": b"broken",
    "a name that is known, without a colon": b"Accept",
    "a control character": b"Cookie: \0",
    "a control character in a known value": b"Accept: a\0",
    "a space before the colon": b"Accept : a",
}


@pytest.mark.parametrize("line", NOT_REMEMBERED.values(), ids=NOT_REMEMBERED)
def test_some_lines_are_never_remembered(lines: Lines, line: bytes) -> None:
    for repeated in (*BROWSER, b"Cookie: a=b"):
        lines[repeated]
    assert lines[line] == lines[line] == Lines(cors=False)[line]
    assert line not in lines


def strangers() -> Iterator[bytes]:
    """Lines of the greatest size that is remembered, of ever different names and spellings."""
    for name in range(NAMES + 20):
        long = b"x-%d-" % name + b"n" * 50
        for number in range(LINES_A_NAME + 5):
            yield (b"%b: %d" % (long, number)).ljust(head_lines.MAX_REMEMBERED_LINE, b"a")
    for spelling in range(1 << 10):
        spelled = bytes(
            letter ^ (0x20 if letter != 0x2D and spelling >> place & 1 else 0)
            for place, letter in enumerate(b"user-agent")
        )
        for number in range(3):
            yield (b"%b: %d-%d" % (spelled, spelling, number)).ljust(head_lines.MAX_REMEMBERED_LINE, b"a")


@pytest.mark.slow
def test_what_is_remembered_is_bounded(lines: Lines) -> None:
    """With the longest lines of the most names, which strangers may choose."""
    gc.collect()
    tracemalloc.start()
    try:
        for _ in range(2):
            for line in strangers():
                lines[line]
        kept = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert max(map(len, lines)) <= head_lines.MAX_REMEMBERED_LINE
    assert kept < head_lines.MAX_MEMORY
    assert lines[b""] == EMPTY


def test_every_spelling_of_a_name_means_the_same(lines: Lines) -> None:
    for line in (b"HOST: a", b"hOST: a", b"Range: bytes=0-", b"rANGE: bytes=0-", b"CONNECTION: Close"):
        name, _, value = line.partition(b":")
        assert lines[line] == lines[name.lower() + b":" + value] != 0
