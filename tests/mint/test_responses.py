"""Responses at the level of bytes: connections kept or closed, HTTP/1.0, HEAD, clients that wait or leave."""

from __future__ import annotations

import asyncio
import json
from email.utils import parsedate_to_datetime
from http import HTTPStatus

import pytest

from tests.support.control_plane import Api, fields_of

PATH = "/api/generate-download-url"
MINIMAL = {"productId": "drums", "version": "1.0.0"}

LAST = b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
HEALTHY = b'{"success": true, "status": "ok"}'


@pytest.mark.parametrize(
    ("version", "asked", "answered"),
    [
        ("1.1", "", None),
        ("1.1", "Connection: close\r\n", "close"),
        ("1.0", "", None),
        ("1.0", "Connection: keep-alive\r\n", "keep-alive"),
    ],
)
async def test_the_connection_is_kept_or_closed_as_agreed(
    api: Api, version: str, asked: str, answered: str | None
) -> None:
    request = f"GET /healthz HTTP/{version}\r\nHost: x\r\n{asked}\r\n".encode()
    stays = (version == "1.1") != bool(asked)
    answer = await api.talk(request + (LAST if stays else b""))
    assert answer.startswith(f"HTTP/{version} 200 OK\r\n".encode())
    assert answer.count(b" 200 OK\r\n") == (2 if stays else 1)
    fields = fields_of(answer)
    assert fields.get("Connection") == answered
    assert fields["Content-Type"] == "application/json"
    assert fields["Cache-Control"] == "no-store"
    assert int(fields["Content-Length"]) == len(HEALTHY)
    assert parsedate_to_datetime(fields["Date"]).tzinfo is not None
    assert answer.endswith(b"\r\n\r\n" + HEALTHY)


async def test_head_has_no_content(api: Api) -> None:
    answer = await api.talk(b"HEAD /healthz HTTP/1.1\r\nHost: x\r\n\r\n" + LAST)
    refused, _, rest = answer.partition(b"\r\n\r\n")
    assert refused.startswith(b"HTTP/1.1 405 Method Not Allowed\r\n")
    assert int(fields_of(refused)["Content-Length"]) > 0
    assert rest.startswith(b"HTTP/1.1 200 OK\r\n")


@pytest.mark.parametrize(
    ("expectation", "status"), [("100-continue", 200), ("100-Continue", 200), ("x", 417)]
)
async def test_a_client_that_expects_100_continue_is_answered_first(
    api: Api, expectation: str, status: int
) -> None:
    body = json.dumps(MINIMAL).encode()
    head = (
        f"POST {PATH} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {api.key}\r\nExpect: {expectation}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    reader, writer = await asyncio.open_connection("127.0.0.1", api.port)
    writer.write(head.encode())
    async with asyncio.timeout(60):
        first = await reader.readline()
        if status == 200:
            assert first == b"HTTP/1.1 100 Continue\r\n"
            assert await reader.readline() == b"\r\n"
            writer.write(body)
            first = await reader.readline()
    assert first == f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n".encode()
    writer.close()


async def test_clients_that_go_away_before_the_answer_disturb_no_other(api: Api) -> None:
    body = json.dumps(MINIMAL)
    request = (
        f"POST {PATH} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {api.key}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}"
    ).encode()
    for _ in range(20):
        _, writer = await asyncio.open_connection("127.0.0.1", api.port)
        writer.write(request * 3)
        await asyncio.sleep(0)
        writer.transport.abort()
    assert (await api.ask("POST", PATH, MINIMAL))[0] == 200
