"""Every head is read as aiohttp's parser reads it: heads of real clients, and invented ones."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.dataplane.exchange import Exchange
from gateway.dataplane.request_reader import RequestReader
from gateway.errors import Refused
from gateway.http.framing import HEAD_END
from gateway.http.head_lines import FIELDS
from tests.support.channel import FakeChannel
from tests.support.examples import examples
from tests.support.in_loop_server import LIMITS
from tests.support.rows import each_row

HEADS = {
    file.stem: file.read_bytes()
    for file in sorted((Path(__file__).parents[1] / "http" / "heads").glob("*.head"))
}
PARSED = ("curl-http10", "java-httpclient", "nginx-default-chromium")
"""HTTP/1.0, and a request to upgrade: aiohttp's parser reads these."""
TARGET = re.compile(r"/download(?:/[^?]*)?\?token=(ct_[A-Za-z0-9_-]+)")


@dataclass
class Reading:
    """What was understood of a head."""

    method: str
    target: str
    fields: dict[str, list[str]]
    keep_alive: bool


class Readers:
    """One worker's reader, on a loop that never runs."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.reader = RequestReader(self.loop, LIMITS, cors=True)

    def quickly(self, head: bytes) -> Reading | None:
        """What is read without aiohttp's parser, in the form in which the parser has it."""
        exchange = self.reader.read_quickly(FakeChannel(), head)
        return None if exchange is None else self._reading(exchange)

    def by_parser(self, head: bytes) -> Reading | None:
        """The same by aiohttp's parser; None if it refuses the head, or finds a body."""
        try:
            exchange, framing = self.reader.read(FakeChannel(), head)
        except Refused:
            return None
        if framing.body is not None or exchange.is_http10:
            return None
        return self._reading(exchange)

    def _reading(self, exchange: Exchange) -> Reading:
        fields = {name: exchange.headers.getall(name) for name in sorted(FIELDS) if name in exchange.headers}
        plain = {
            "user-agent": exchange.agent,
            "range": exchange.range,
            "accept": exchange.accept,
            "x-forwarded-for": exchange.forwarded,
            "x-original-uri": exchange.original,
        }
        fields |= {name: [text] for name, text in plain.items() if text}
        target = exchange.target
        if exchange.token:
            if "[secret]" in target:
                assert target == f"/download/[secret]/{exchange.file}"
                target = target.replace("[secret]", exchange.token)
            else:
                assert target in ("/download", f"/download/{exchange.file}")
                target += f"?token={exchange.token}"
        if exchange.asked_token:
            assert exchange.original in (
                f"/download?token={exchange.asked_token}",
                f"/download/{exchange.file}?token={exchange.asked_token}",
                f"/download/{exchange.asked_token}/{exchange.file}",
            )
        if exchange.original:  # a plain question implies the method
            fields["x-original-method"] = ["GET"]
        return Reading(exchange.method, target, fields, exchange.keep_alive)


@pytest.fixture(scope="module")
def readers() -> Iterator[Readers]:
    made = Readers()
    yield made
    made.loop.close()


def compare(readers: Readers, head: bytes) -> bool:
    """Compare the two readings, for lines that are new, and for lines and blocks that are remembered.

    The parser gets whole heads only, as from a connection: what follows would be a part of the next head.
    """
    is_whole = head.find(HEAD_END) == len(head) - len(HEAD_END)
    expected = readers.by_parser(head) if is_whole else None
    if expected is not None and "x-original-uri" in expected.fields:
        expected.fields.setdefault("x-original-method", ["GET"])
    found = None
    for _ in range(3):
        found = readers.quickly(head)
        if found is not None:
            if found.fields.get("x-original-uri") and "x-original-method" not in found.fields:
                found.fields["x-original-method"] = ["GET"]
            assert found == expected
    return found is not None


@each_row("name", HEADS)
def test_heads_of_real_clients_are_read_without_the_parser(readers: Readers, name: str) -> None:
    assert compare(readers, HEADS[name]) is (name not in PARSED)


@each_row("name", HEADS)
def test_a_head_cut_anywhere_is_no_head(readers: Readers, name: str) -> None:
    head = HEADS[name]
    assert not any(readers.quickly(head[:end]) for end in range(len(head)))
    assert readers.quickly(head + head) is None


@each_row("name", sorted(set(HEADS) - {*PARSED, "nginx-auth-chromium", "curl-bearer"}))
def test_what_was_captured_is_understood(readers: Readers, name: str) -> None:
    found = readers.quickly(HEADS[name])
    assert found is not None
    asked = found.fields.get("x-original-uri") or found.fields.get("x-forwarded-uri") or [found.target]
    assert TARGET.fullmatch(asked[0])


TOKEN = "ct_" + "A" * 43
NAMES = st.sampled_from(
    [
        *sorted(FIELDS),
        *("Host", "host", "Connection", "Content-Length", "Transfer-Encoding", "Upgrade", "Expect", "Cookie"),
        *("User-Agent", "RANGE", "X-Forwarded-For", "X-Original-URI", "TE", "Proxy-Connection", "ETag"),
        *("Sec-WebSocket-Key1", "X-A", "A b", "", " A", "A:", "\u00e4", "A\x00", "Max-Forwards"),
    ]
)
VALUES = st.one_of(
    st.sampled_from(
        [
            *("x", "example.com:80", "", "keep-alive", "close", "Keep-Alive, x", "GET", "0", "5", "chunked"),
            *("bytes=0-5", "bytes=-5", "bytes=0-1,3-4", "/download/x?token=ct_a", "/a b", "a\x00", "a\rb"),
            *("\u00e4", " x", "x ", "\tx\t", "websocket", "100-continue", "[::1]", "a,b", "*/*", "a\n"),
        ]
    ),
    st.text(st.characters(codec="latin-1"), max_size=12),
)
LINES = st.sampled_from(
    [
        *(
            f"GET /download?token={TOKEN}",
            f"GET /download/x.zip?token={TOKEN}",
            "GET /auth",
            "GET /downloads",
        ),
        *(
            f"GET /download/{TOKEN}/",
            f"GET /download/{TOKEN}/x",
            f"HEAD /download/{TOKEN}/x",
            "GET /download/../x",
        ),
        *("HEAD /download?token=ct_a", "GET /download/a%20b?token=ct_a&utm=1", "GET /auth/x", "GET  /auth"),
        *("POST /download", "GET http://x/download", "GET /download#a", "GET /download\u00e4"),
    ]
)
VERSIONS = st.sampled_from([" HTTP/1.1", " HTTP/1.1", " HTTP/1.1", " HTTP/1.0", "  HTTP/1.1", " HTTP/1.2"])
COLONS = st.sampled_from([": ", ": ", ": ", ":", ":  ", " : ", ""])
ENDS = st.sampled_from(["\r\n", "\r\n", "\r\n", "\r\n", "\n", "\r", "\r\n ", "\r\n\r\n"])


@st.composite
def heads(draw: st.DrawFn) -> bytes:
    """A head that a client might send: mostly well-formed."""
    lines = [draw(LINES) + draw(VERSIONS) + "\r\n"]
    if draw(st.booleans()):
        lines.append("Host: example.com\r\n")
    for _ in range(draw(st.integers(0, 6))):
        plain = draw(st.booleans())
        colon, end = (": ", "\r\n") if plain else (draw(COLONS), draw(ENDS))
        lines.append(draw(NAMES) + colon + draw(VALUES) + end)
    return "".join([*lines, "\r\n"]).encode("latin-1", "replace")


@pytest.mark.slow
@settings(max_examples=examples(1500), deadline=None)
@given(heads())
def test_heads_that_are_invented_are_never_read_differently(readers: Readers, head: bytes) -> None:
    compare(readers, head)


@settings(max_examples=examples(500), deadline=None)
@given(st.sampled_from(sorted(HEADS.values())), st.data())
def test_heads_of_real_clients_with_changes_are_never_read_differently(
    readers: Readers, head: bytes, data: st.DataObject
) -> None:
    """Some bytes are replaced, removed or put in, and lines change places."""
    first, *lines = head[:-4].split(b"\r\n")
    lines = data.draw(st.permutations(lines))
    changed = b"\r\n".join([first, *lines]) + b"\r\n\r\n"
    start = data.draw(st.integers(0, len(changed)))
    end = data.draw(st.integers(start, min(len(changed), start + 5)))
    noise = data.draw(st.binary(max_size=3))
    compare(readers, changed)
    compare(readers, changed[:start] + noise + changed[end:])
