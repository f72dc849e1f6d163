"""aiohttp's C parser as the data plane uses it: whole heads, one for all connections."""

from __future__ import annotations

import asyncio
import re

import aiohttp
import pytest
from aiohttp import http_parser
from aiohttp.http import HttpVersion10, HttpVersion11

from gateway.dataplane.head_parser import HeadParser
from gateway.errors import BAD_REQUEST, METHOD_NOT_ALLOWED, Refused
from tests.support.in_loop_server import LIMITS

HEAD = b"GET /a?b=c HTTP/1.1\r\nHost: x\r\n\r\n"
BODY = HEAD.replace(b"\r\n\r\n", b"\r\nContent-Length: 5\r\n\r\n")


def test_the_version_is_the_one_tested() -> None:
    assert re.match(r"3\.14\.", aiohttp.__version__), "look at head_parser.py before raising the pin"


def test_the_c_parser_is_loaded() -> None:
    assert http_parser.HttpRequestParser.__module__ == "aiohttp._http_parser"
    assert http_parser.HttpRequestParser is http_parser.HttpRequestParserC


async def parser() -> HeadParser:
    return HeadParser(asyncio.get_running_loop(), LIMITS)


async def test_a_head_is_read() -> None:
    heads = await parser()
    for _ in range(3):
        message = heads.parse(HEAD, has_body=False)
        assert (message.method, message.path, message.version) == ("GET", "/a?b=c", HttpVersion11)
        assert message.headers["host"] == "x"
        assert not message.should_close
        assert not message.upgrade
    message = heads.parse(b"GET / HTTP/1.0\r\n\r\n", has_body=False)
    assert message.version == HttpVersion10
    assert message.should_close


@pytest.mark.parametrize(
    ("before", "has_body"),
    [
        (BODY, True),
        (HEAD.replace(b"\r\n\r\n", b"\r\nTransfer-Encoding: chunked\r\n\r\n"), True),
        (HEAD.replace(b"\r\n\r\n", b"\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"), False),
        (HEAD.replace(b"\r\n\r\n", b"\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"), False),
        (HEAD.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"), False),
        (b"GET / HTTP/1.0\r\n\r\n", False),
        (b"CONNECT x:1 HTTP/1.1\r\nHost: x:1\r\n\r\n", False),
    ],
    ids=["a length", "chunks", "websocket", "h2c", "close", "HTTP/1.0", "CONNECT"],
)
async def test_what_follows_a_head_is_no_part_of_the_next_one(before: bytes, has_body: bool) -> None:
    heads = await parser()
    heads.parse(before, has_body)
    assert heads.parse(HEAD, has_body=False).path == "/a?b=c"


@pytest.mark.parametrize(
    ("head", "refusal"),
    [
        (b"FOO / HTTP/1.1\r\nHost: x\r\n\r\n", METHOD_NOT_ALLOWED),
        (b"GET / HTTP/1.1\r\n\r\n", BAD_REQUEST),
        (b"GET / HTTP/1.1\r\nHost: x\r\nA : b\r\n\r\n", BAD_REQUEST),
        (b"GET / HTTP/1.1\r\nHost: x\r\n", BAD_REQUEST),
        (HEAD + HEAD, BAD_REQUEST),
        (BODY, BAD_REQUEST),
    ],
    ids=["a method", "no Host", "a space", "a part of a head", "two heads", "a body that nobody expects"],
)
async def test_other_heads_are_refused_and_do_not_matter_to_the_next_one(
    head: bytes, refusal: object
) -> None:
    heads = await parser()
    with pytest.raises(Refused) as caught:
        heads.parse(head, has_body=False)
    assert caught.value.refusal is refusal
    assert heads.parse(HEAD, has_body=False).path == "/a?b=c"


async def test_a_body_that_the_parser_does_not_see_is_refused() -> None:
    heads = await parser()
    with pytest.raises(Refused):
        heads.parse(HEAD, has_body=True)
