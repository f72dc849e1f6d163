"""The answer to one request: how heads are completed, how it is refused, and a client that has gone."""

from __future__ import annotations

import pytest
from multidict import CIMultiDict, CIMultiDictProxy

from gateway.dataplane.exchange import EXPOSED, ClientGone, Exchange, cors_fields
from gateway.errors import LIMIT_REACHED, TOKEN_INVALID
from gateway.http.forward_auth import CADDY, NGINX
from tests.support.channel import FakeChannel

HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n"
DATE = b"Date: now\r\n"
SHOP = "https://shop.example"


def headers(*lines: tuple[str, str]) -> CIMultiDictProxy[str]:
    return CIMultiDictProxy(CIMultiDict(lines))


@pytest.mark.parametrize(
    ("keep_alive", "is_http10", "draining", "ending"),
    [
        (True, False, False, b"\r\n"),
        (True, True, False, b"Connection: keep-alive\r\n\r\n"),
        (False, False, False, b"Connection: close\r\n\r\n"),
        (False, True, False, b"Connection: close\r\n\r\n"),
        (True, False, True, b"Connection: close\r\n\r\n"),
    ],
)
def test_how_a_head_ends(keep_alive: bool, is_http10: bool, draining: bool, ending: bytes) -> None:
    channel = FakeChannel()
    channel.server.draining = draining
    exchange = Exchange(channel, keep_alive=keep_alive, is_http10=is_http10)
    exchange.respond(200, HEAD, b"body")
    assert channel.wire.written == HEAD + DATE + ending + b"body"
    assert (exchange.status, exchange.begun) == (200, True)
    assert exchange.keep_alive is (keep_alive and not draining)


def test_head_requests_get_no_body() -> None:
    channel = FakeChannel()
    Exchange(channel, "HEAD").respond(200, HEAD, b"body")
    assert channel.wire.written == HEAD + DATE + b"\r\n"


def test_without_a_client_the_answer_raises_client_gone() -> None:
    channel = FakeChannel()
    channel.transport = None
    with pytest.raises(ClientGone):
        Exchange(channel).respond(200, HEAD)


@pytest.mark.parametrize(
    ("origins", "origin", "fields"),
    [
        (("*",), None, b"Access-Control-Allow-Origin: *\r\n" + EXPOSED),
        ((SHOP,), None, b"Vary: Origin\r\n"),
        ((SHOP,), "https://other.example", b"Vary: Origin\r\n"),
        (
            (SHOP,),
            SHOP,
            b"Access-Control-Allow-Origin: https://shop.example\r\nVary: Origin\r\n" + EXPOSED,
        ),
    ],
)
def test_pages_of_allowed_origins_may_read_the_answer(
    origins: tuple[str, ...], origin: str | None, fields: bytes
) -> None:
    assert cors_fields(frozenset(origins), origin) == fields
    channel = FakeChannel(origins)
    lines = headers(("Origin", origin)) if origin else headers()
    exchange = Exchange(channel, headers=lines)
    assert exchange.is_from_allowed_origin() is (fields.startswith(b"Access-Control"))
    exchange.respond(200, HEAD)
    assert channel.wire.written == HEAD + fields + DATE + b"\r\n"


@pytest.mark.parametrize(
    ("accept", "kind"), [("*/*", b"application/problem+json"), ("text/html", b"text/html; charset=utf-8")]
)
def test_a_refusal_is_a_problem_or_a_page(accept: str, kind: bytes) -> None:
    channel = FakeChannel()
    exchange = Exchange(channel, headers=headers(("Accept", accept)))
    exchange.refuse(TOKEN_INVALID, fields=b"X-More: 1\r\n")
    head, _, body = channel.wire.written.partition(b"\r\n\r\n")
    assert b"Content-Type: " + kind in head
    assert b"X-More: 1" in head
    assert body
    assert (exchange.status, exchange.code) == (403, "token_invalid")
    assert b"X-Gateway-Code" not in head


@pytest.mark.parametrize("dialect", [NGINX, CADDY])
def test_a_refusal_to_a_front_proxy(dialect: object) -> None:
    channel = FakeChannel()
    exchange = Exchange(channel)
    exchange.dialect = dialect  # type: ignore[assignment]
    exchange.refuse(LIMIT_REACHED)
    head = channel.wire.written.partition(b"\r\n\r\n")[0]
    assert b"X-Gateway-Status: 403\r\nX-Gateway-Code: limit_reached" in head


def test_breaking_off_closes_the_connection() -> None:
    channel = FakeChannel()
    exchange = Exchange(channel)
    exchange.abort()
    assert channel.was_reset
    assert not exchange.keep_alive
