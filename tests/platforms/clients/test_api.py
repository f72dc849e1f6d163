"""One API: repetitions, rate limits and bounds, against a server on loopback."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable
from typing import Any

import pytest
from aiohttp import web

from gateway.platforms.clients import api as module
from gateway.platforms.clients.api import (
    ATTEMPTS,
    MAX_RESPONSE,
    Access,
    Api,
    ApiError,
    ApiRefused,
    ApiUnavailable,
    check_address,
    new_session,
    segment,
)
from tests.support.platform_api import Turns, platform_api
from tests.support.rows import each_row

ACCESS = Access("Acme", "https://api.example/v1", "secret-key")
KEY = "secret-key"


def status(code: int, **headers: str) -> Callable[[web.BaseRequest], web.Response]:
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda _: web.json_response({"error": KEY}, status=code, headers=names)


async def test_a_key_is_sent_as_a_bearer_or_as_basic_credentials() -> None:
    async with platform_api(ACCESS, {"/v1/x": {"a": 1}}) as (api, server):
        assert (await api.get_object("/x", {"q": "a&b"})).values == {"a": 1}
        [request] = server.requests
        assert request.headers["Authorization"] == "Bearer secret-key"
        assert (request.query_string, request.headers["Accept-Encoding"]) == ("q=a%26b", "identity")
    basic = Access("Acme", "https://api.example", "user:pass:word", basic=True)
    async with platform_api(basic, {"/x": {}}) as (api, server):
        await api.get("/x")
        expected = base64.b64encode(b"user:pass:word").decode()
        assert server.requests[0].headers["Authorization"] == f"Basic {expected}"


@pytest.mark.parametrize("code", [429, 500, 502, 503, 504])
async def test_a_request_is_repeated_after_a_pause_that_doubles(code: int) -> None:
    answers = {"/v1/x": Turns([status(code), status(code), {"a": 1}])}
    async with platform_api(ACCESS, answers) as (api, server):
        assert (await api.get("/x"))[0] == {"a": 1}
        first, second = server.waits
        assert 0.25 <= first <= 0.5 <= second <= 1


async def test_retry_after_says_how_long_to_wait() -> None:
    answers = {"/v1/x": Turns([status(429, Retry_After="2.0"), status(503, Retry_After="7"), {}])}
    async with platform_api(ACCESS, answers) as (api, server):
        await api.get("/x")
        assert server.waits == [2.0, 7.0]


@pytest.mark.parametrize("text", ["x", "-5", "", "1e9", "Wed, 21 Oct 2015 07:28:00 GMT", "٥", "nan"])
async def test_another_retry_after_is_no_wait(text: str) -> None:
    async with platform_api(ACCESS, {"/v1/x": Turns([status(429, Retry_After=text), {}])}) as (api, server):
        await api.get("/x")
        assert server.waits[0] <= 0.5


async def test_a_long_wait_is_left_to_whoever_asked() -> None:
    async with platform_api(ACCESS, {"/v1/x": status(429, Retry_After="3600")}) as (api, server):
        with pytest.raises(ApiUnavailable, match=r"^Acme answered 429\.$") as failure:
            await api.get("/x")
        assert (failure.value.retry_after, len(server.requests), server.waits) == (3600, 1, [])


async def test_repetitions_end() -> None:
    async with platform_api(ACCESS, {"/v1/x": status(500)}) as (api, server):
        with pytest.raises(ApiUnavailable):
            await api.get("/x")
        assert len(server.requests) == ATTEMPTS


@each_row(
    ("answer", "says"),
    [
        (status(401), "Acme answered 401: the API key is not valid."),
        (status(403), "Acme answered 403: the API key may not read this."),
        (status(404), "Acme answered 404: there is no such thing"),
        (status(400), "Acme answered 400."),
        (status(302, Location="http://127.0.0.1:1/"), "the address leads elsewhere"),
        (status(204), "Acme answered 204."),
        (lambda _: web.Response(text="<html>"), "not what it promises"),
        (lambda _: web.Response(body=b"[" * 5000 + b"]" * 5000), "nested too deeply"),
        (lambda _: web.Response(body=b" " * (MAX_RESPONSE + 1)), "has more than"),
        (lambda _: web.Response(body=b"x", headers={"Content-Encoding": "gzip"}), "compressed its answer"),
        ([], "something else than an object"),
    ],
)
async def test_what_asking_again_does_not_help(answer: Any, says: str) -> None:
    async with platform_api(ACCESS, {"/v1/x": answer}) as (api, server):
        with pytest.raises(ApiRefused, match=says) as failure:
            await api.get_object("/x")
        assert len(server.requests) == 1
        assert KEY not in str(failure.value)


async def test_a_server_that_is_not_there_or_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []

    async def wait(seconds: float) -> None:
        waits.append(seconds)

    async with new_session() as session:
        api = Api(session, Access("Acme", "http://127.0.0.1:1", KEY), wait)
        with pytest.raises(ApiUnavailable, match="Acme cannot be reached"):
            await api.get("/x")
    assert len(waits) == ATTEMPTS - 1
    monkeypatch.setattr(module, "TIMEOUT_SECONDS", 0.05)

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, new_session() as session:
        api = Api(session, Access("Acme", f"http://127.0.0.1:{port}", KEY), wait)
        with pytest.raises(ApiUnavailable, match="did not answer within"):
            await api.get("/x")


async def test_requests_keep_their_distance() -> None:
    paced = Access("Acme", "https://api.example", KEY, pause=60.0)
    async with platform_api(paced, {"/x": {}}) as (api, server):
        await asyncio.gather(*(api.get("/x") for _ in range(3)))
        assert len(server.waits) == 2
        assert sum(server.waits) > 60.0  # 60 and 120, less what has passed meanwhile


@pytest.mark.parametrize("key", ["a\r\nX-Other: 1", "a\nb", "ключ", "a\0b", " a" * 2000])
async def test_a_key_cannot_add_a_header_field(key: str) -> None:
    async with new_session() as session:
        with pytest.raises(ApiError, match="copy it again") as failure:
            Api(session, Access("Acme", "http://127.0.0.1:1", key))
        assert key not in str(failure.value)


@each_row(
    ("text", "loopback", "address"),
    [
        ("https://shop.example", False, "https://shop.example"),
        (" https://shop.example/ ", False, "https://shop.example"),
        ("https://shop.example:8443/shop/", False, "https://shop.example:8443/shop"),
        ("http://127.0.0.1:8080", True, "http://127.0.0.1:8080"),
        ("http://localhost/shop", True, "http://localhost/shop"),
        ("http://[::1]:8080", True, "http://[::1]:8080"),
        ("http://127.0.0.1:8080", False, None),
        ("http://shop.example", True, None),
        ("http://127.0.0.1.shop.example", True, None),
        ("ftp://shop.example", True, None),
        ("shop.example", False, None),
        ("https://", False, None),
        ("https://user:password@shop.example", False, None),
        ("https://shop.example?x=1", False, None),
        ("https://shop.example/#x", False, None),
        ("https://shop.example:x", False, None),
        ("https://shop.example:99999", False, None),
        ("https://shöp.example", False, None),
        ("https://shop.exam ple", False, None),
        ("file:///etc/passwd", True, None),
        ("", False, None),
    ],
)
def test_the_address_of_a_shop(text: str, loopback: bool, address: str | None) -> None:
    if address is None:
        with pytest.raises(ApiRefused):
            check_address(text, allow_loopback=loopback)
    else:
        assert check_address(text, allow_loopback=loopback) == address


def test_an_id_is_one_segment_of_a_path() -> None:
    assert segment("cs_1/../../x?y=z#a b") == "cs_1%2F..%2F..%2Fx%3Fy%3Dz%23a%20b"
    for text in (".", ".."):
        with pytest.raises(ApiRefused):
            segment(text)
