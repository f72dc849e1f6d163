"""What mint and web, which run on `gateway.web.server`, do with strangers: connections, heads, bodies."""

from __future__ import annotations

import asyncio
import json
import re
import socket
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import pytest

from gateway.config.settings import Settings
from gateway.mint import service as mint_service
from gateway.runtime.line_budget import LineBudget
from gateway.tokens.repositories import Repositories
from gateway.web import connection
from gateway.web import service as web_service
from gateway.web.bodies import BODY_LIMIT
from gateway.web.connection import MAX_REFUSING
from tests.support.control_plane import Api, Serve, listen, manifest, run_api
from tests.support.raw_connection import PATIENCE_SECONDS, RawConnection
from tests.support.store_server import STORE_SECONDS
from tests.support.waiting import until

RESET = b"\1\0\0\0\0\0\0\0"


SERVICES = [
    pytest.param((mint_service.serve, "/api/generate-download-url"), id="mint"),
    pytest.param((web_service.serve, "/api/products"), id="web"),
]
FEW: dict[str, Any] = {"max_connections": 4, "max_head": 2000}
SHORT: dict[str, Any] = {"header_timeout": 1.0, "keepalive_timeout": 1.5, "stall_timeout": 1.5}


@pytest.fixture(params=SERVICES)
async def bounded(request: pytest.FixtureRequest, settings: Settings) -> AsyncIterator[tuple[Api, str]]:
    """Each service with low limits, and a URL of it that takes a body."""
    serve, path = request.param
    async with run_api(serve, settings.model_copy(update=FEW)) as running:
        yield running, path


@pytest.fixture(params=SERVICES)
async def hasty(request: pytest.FixtureRequest, settings: Settings) -> AsyncIterator[tuple[Api, str]]:
    """The same with short time-outs."""
    serve, path = request.param
    async with run_api(serve, settings.model_copy(update=FEW | SHORT)) as running:
        yield running, path


def post(path: str, key: str, *fields: str) -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: x", f"Authorization: Bearer {key}", *fields]
    return "\r\n".join([*lines, "Content-Type: application/json", "", ""]).encode()


async def talk(api: Api, *parts: bytes, pause: float = 0.002, before: bytes = b"") -> bytes:
    """Send the parts, with a moment between them, until the connection ends; return what came back.

    before: a request that is answered before they are sent.
    """
    client = await RawConnection.open(api.port)
    if before:
        client.send(before)
        await client.until_answered()
    for part in parts:
        if client.has_ended:
            break
        client.send(part)
        await asyncio.sleep(pause)
    return await client.until_ended()


async def test_the_key_is_checked_before_a_body_is_asked_for(bounded: tuple[Api, str]) -> None:
    api, path = bounded
    head = post(path, "gk_unknown", "Expect: 100-continue", "Content-Length: 60000", "Connection: close")
    assert (await talk(api, head)).startswith(b"HTTP/1.1 401 ")
    head = post(path, api.key, "Expect: 100-continue", "Content-Length: 2", "Connection: close")
    assert (await talk(api, head, b"{}", pause=0.1)).startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 400 ")


async def test_an_unknown_key_is_refused_while_its_body_is_under_way(bounded: tuple[Api, str]) -> None:
    api, path = bounded
    assert (await talk(api, post(path, "gk_unknown", "Content-Length: 60000"), b"{")).startswith(
        b"HTTP/1.1 401 "
    )


async def test_a_body_is_read_to_its_limit_only(bounded: tuple[Api, str]) -> None:
    api, path = bounded
    chunk = b"%x\r\n%b\r\n" % (8192, b" " * 8192)
    parts = [chunk] * (3 * BODY_LIMIT // 8192)
    answer = await talk(api, post(path, api.key, "Transfer-Encoding: chunked"), *parts)
    assert answer.startswith(b"HTTP/1.1 413 ")


@pytest.mark.slow
@pytest.mark.parametrize("pause", [0.0, 0.05])
async def test_a_body_that_does_not_come_is_given_up(hasty: tuple[Api, str], pause: float) -> None:
    """pause: between its bytes, if any come; the whole body has a limit, too."""
    api, path = hasty
    client = await RawConnection.open(api.port)
    client.send(post(path, api.key, "Content-Length: 1000") + b"{")
    async with asyncio.timeout(PATIENCE_SECONDS):
        while pause and not client.has_ended:
            client.send(b" ")
            await asyncio.sleep(pause)
    assert (await client.until_ended()).startswith(b"HTTP/1.1 408 ")


@pytest.mark.parametrize(
    "sent", [b"", b"GET /healthz HTTP/1.1\r\n", b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\nGE"]
)
async def test_a_head_that_does_not_come_ends_the_connection(hasty: tuple[Api, str], sent: bytes) -> None:
    answer = await talk(hasty[0], sent)
    assert answer.startswith(b"HTTP/1.1 200 ") == (b"\r\n\r\n" in sent)


@pytest.mark.parametrize("fields", [1, 50])
@pytest.mark.parametrize("size", [100, 5000])
async def test_a_head_is_counted_from_its_first_byte(
    bounded: tuple[Api, str], fields: int, size: int
) -> None:
    head = b"GET /healthz HTTP/1.1\r\nHost: x\r\n" + b"".join(
        b"X%d: %b\r\n" % (number, b"x" * (3000 // fields)) for number in range(fields)
    )
    answer = await talk(bounded[0], *(head[at : at + size] for at in range(0, len(head), size)))
    assert answer.startswith(b"HTTP/1.1 431 ")


FRAMING = [
    (b"GET  /healthz HTTP/1.1\r\nHost: x\r\n", 400),
    (b"GET /healthz  HTTP/1.1\r\nHost: x\r\n", 400),
    (b"GET /healthz HTTP/1.1\r\nHost: x y\r\n", 400),
    (b"GET /healthz HTTP/1.1\r\nHost: u@x\r\n", 400),
    (b"GET /healthz HTTP/1.1\r\nHost: x\r\nTransfer-Encoding:\r\n", 400),
    (b"GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Length:\r\n", 400),
    (b"GET /healthz HTTP/1.0\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n", 400),
    (b"GET /" + b"a" * 300 + b" HTTP/1.1\r\nHost: x\r\n", 414),
    (b"GET /healthz HTTP/2.0\r\nHost: x\r\n", 505),
    (b"PRI * HTTP/2.0\r\n", 505),
    (b"GET /healthz HTTP/1.2\r\nHost: x\r\n", 505),
    (b"GET /healthz HTTP/1\r\nHost: x\r\n", 400),
    (b"GET /healthz HTTP/1.1\r\nHost: x\r\nA: " + b"a" * 300 + b"\r\n", 431),
    (b"GET /healthz HTTP/1.1\r\nHost: x\r\n" + b"A: b\r\n" * 9, 431),
]


WITH_LENGTH = b"PUT /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 20\r\n\r\nGET / HTTP/1.0\r\n\r\n  "
WITH_CHUNKS = (
    b"PUT /healthz HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"12;a=b\r\nGET / HTTP/1.0\r\n\r\n\r\n0\r\nGone: yes\r\n\r\n"
)
"""Requests whose bodies look like heads."""


@pytest.mark.parametrize("serve", [mint_service.serve, web_service.serve], ids=["mint", "web"])
async def test_heads_are_held_to_the_rules_of_the_data_plane(settings: Settings, serve: Serve) -> None:
    """Those that aiohttp accepts, too; each closes the connection, however it is cut into packets."""
    limits = settings.model_copy(update={"max_line": 280, "max_field": 280, "max_headers": 8})
    async with run_api(serve, limits) as api:
        good = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
        for head, status in FRAMING:
            whole = head + b"\r\n"
            for before, *parts in (
                (b"", whole + good),
                (b"", whole[:9], whole[9:] + good),
                (good, whole + good),
                (b"", good + whole + good),
                (b"", good + good + whole[:9], whole[9:] + good),
                (b"", WITH_LENGTH + whole + good),
                (b"", WITH_CHUNKS[:-9], WITH_CHUNKS[-9:] + whole + good),
            ):
                answer = await talk(api, *parts, pause=0.02, before=before)
                statuses = [int(each) for each in re.findall(rb"HTTP/1\.[01] (\d+)", answer)]
                assert statuses[-1] == status, (head, before, parts)
                sent = before + b"".join(parts)
                assert len(statuses) == sent[: sent.index(whole)].count(b"HTTP/1.1") + 1, (head, parts)


GOOD = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
LAST_ANSWERS = {
    "asked to close": GOOD.replace(b"x\r\n", b"x\r\nConnection: close\r\n"),
    "HTTP/1.0": GOOD.replace(b"HTTP/1.1", b"HTTP/1.0"),
    "a bad head": b"GET  /healthz HTTP/1.1\r\n",
    "a bad head after a request": GOOD + b"GET  /healthz HTTP/1.1\r\n",
    "a bad body": GOOD.replace(b"GET", b"PUT").replace(b"x\r\n", b"x\r\nTransfer-Encoding: chunked\r\n")
    + b"no size",
    "a body that is not read": post("/api/products", "gk_unknown", "Content-Length: 60000"),
}
"""What is answered last on a connection, for each reason why it is the last answer."""


@pytest.mark.parametrize("serve", [mint_service.serve, web_service.serve], ids=["mint", "web"])
@pytest.mark.parametrize("reason", LAST_ANSWERS)
async def test_who_still_sends_is_not_reset_after_the_last_answer(
    settings: Settings, serve: Serve, reason: str
) -> None:
    """A reset would make the client's system forget the answer that it has not read yet."""
    async with run_api(serve, settings) as api:
        reader, writer = await asyncio.open_connection("127.0.0.1", api.port)
        client = writer.get_extra_info("socket")
        writer.write(LAST_ANSWERS[reason])
        answer = await reader.readuntil(b"\r\n\r\n")
        for _ in range(5):
            writer.write(b"more " * 1000)
            await asyncio.sleep(0.02)
            assert not client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        writer.write_eof()
        async with asyncio.timeout(PATIENCE_SECONDS):
            answer += await reader.read()
        writer.close()
        assert answer.startswith(b"HTTP/1.")


@pytest.mark.parametrize(
    ("parts", "status"),
    [
        ((b"GET /" + b"a" * 50_000,), 414),
        ((b"GET /" + b"a" * 12_000, b"a" * 12_000), 414),
        ((b"\r\nGET /" + b"a" * 20_000,), 414),
        ((b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\nHost: x\r\n",), 414),
        ((b"GET /healthz HTTP/1.1\r\nHost: x\r\nA: " + b"a" * 50_000,), 431),
        ((b"GET /healthz HTTP/1.1\r\nHost: x\r\n", b"A: " + b"a" * 50_000), 431),
    ],
)
async def test_a_head_without_an_end_is_refused_for_what_is_too_long(
    settings: Settings, parts: tuple[bytes, ...], status: int
) -> None:
    async with run_api(web_service.serve, settings) as api:
        assert (await talk(api, *parts, pause=0.02))[:13] == b"HTTP/1.1 %d " % status


async def test_connections_beyond_the_limit_are_refused(
    bounded: tuple[Api, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "LINGER_SECONDS", 10 * PATIENCE_SECONDS)  # none of them ends meanwhile
    api, _ = bounded
    idle = [await asyncio.open_connection("127.0.0.1", api.port) for _ in range(FEW["max_connections"])]
    for reader, writer in idle:  # an answer shows that the connection was accepted
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await reader.read(12)) == b"HTTP/1.1 200"
    assert (await talk(api, b"")).startswith(b"HTTP/1.1 503 ")
    more = [await asyncio.open_connection("127.0.0.1", api.port) for _ in range(2 * MAX_REFUSING)]
    answers = []
    for reader, _ in more:
        try:
            answers.append(await reader.read(12))
        except ConnectionError:
            answers.append(b"")
    assert set(answers) == {b"HTTP/1.1 503", b""}
    assert answers.count(b"HTTP/1.1 503") <= MAX_REFUSING
    for _, writer in [*idle, *more]:
        writer.close()


@pytest.mark.slow
async def test_a_client_that_reads_nothing_is_cut_off(hasty: tuple[Api, str]) -> None:
    """Its answers wait in a buffer that has a bound, and not for ever."""
    api, _ = hasty
    reader, writer = await asyncio.open_connection("127.0.0.1", api.port)
    writer.transport.pause_reading()  # type: ignore[attr-defined]

    async def send_for_ever() -> None:
        while True:
            writer.write(b"GET /api/openapi.json HTTP/1.1\r\nHost: x\r\n\r\n" * 100)
            await writer.drain()
            await asyncio.sleep(0)

    with pytest.raises(ConnectionError):
        await asyncio.wait_for(send_for_ever(), PATIENCE_SECONDS)
    writer.transport.abort()
    with suppress(ConnectionError):
        await writer.wait_closed()
    del reader


@pytest.mark.parametrize("serve", [mint_service.serve, web_service.serve], ids=["mint", "web"])
async def test_a_peer_that_has_no_address_any_more_gets_nothing(
    serve: Serve, settings: Settings, repos: Repositories
) -> None:
    """A client resets its connection before it is accepted. Then the socket does not name its peer."""
    await repos.products.register(manifest("drums", "1.0.0"))
    key = (await repos.keys.create("tests")).key
    token = (await repos.tokens.create("drums")).record.id
    body = json.dumps({"productId": "drums"})
    fields = f"Host: x\r\nAuthorization: Bearer {key}\r\nContent-Type: application/json\r\n"
    requests = (
        f"POST /api/generate-download-url HTTP/1.1\r\n{fields}Content-Length: {len(body)}\r\n\r\n{body}",
        f"DELETE /api/downloads/tokens/{token} HTTP/1.1\r\n{fields}\r\n",
    )
    sock = listen()
    for request in requests:
        with socket.create_connection(sock.getsockname()) as client:
            client.sendall(request.encode())
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    before = await repos.client.call("KEYS", "dg:token:*")
    async with (
        serve(repos, [sock], settings),
        Repositories.connect(settings.redis_url or "", STORE_SECONDS) as other,
    ):
        for _ in range(20):
            await other.client.ping()
    assert await repos.client.call("KEYS", "dg:token:*") == before
    record = await repos.tokens.get(token)
    assert record is not None
    assert record.revoked is None


@pytest.mark.slow
@pytest.mark.parametrize("serve", [mint_service.serve, web_service.serve], ids=["mint", "web"])
async def test_what_ends_before_a_request_was_read_is_logged_with_the_address(
    serve: Serve,
    settings: Settings,
    repos: Repositories,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connection, "_lines", LineBudget())  # other tests may have used it up
    settings = settings.model_copy(update={"max_connections": 4, "header_timeout": 1.5})
    sock = listen()
    key = (await repos.keys.create("tests")).key

    ended: list[connection.ProblemConnection] = []
    real = connection.ProblemConnection.connection_lost

    def note(self: connection.ProblemConnection, exc: BaseException | None) -> None:
        real(self, exc)
        ended.append(self)

    monkeypatch.setattr(connection.ProblemConnection, "connection_lost", note)

    async def talk(data: bytes) -> bytes:
        client = await RawConnection.open(sock.getsockname()[1], local_addr=("127.0.0.2", 0))
        client.send(data)
        return await client.until_ended()

    async with serve(repos, [sock], settings):
        assert b" 400 " in await talk(f"GET / HTTP/1.1\r\nno field {key}\r\n\r\n".encode())
        assert b" 431 " in await talk(b"GET / HTTP/1.1\r\nX: " + b"x" * 40_000)
        assert await talk(f"GET / HTTP/1.1\r\nAuthorization: Bearer {key}".encode()) == b""
        await until(lambda: len(ended) == 3)  # the service knows, too: nobody counts to the limit any more
        answers = await asyncio.gather(*(talk(b"") for _ in range(6)))
    assert sum(b" 503 " in answer for answer in answers) == 2
    lines = [record for record in caplog.records if record.msg == "refused before a request was read"]
    found: Counter[tuple[int, str, str]] = Counter(
        (record.__dict__["status"], record.__dict__["code"], record.__dict__["client"]) for record in lines
    )
    assert {(status, client): count for (status, _, client), count in found.items()} == {
        (400, "127.0.0.2"): 1,
        (431, "127.0.0.2"): 1,
        (408, "127.0.0.2"): 1,
        (503, "127.0.0.2"): 2,
    }
    assert key not in caplog.text
