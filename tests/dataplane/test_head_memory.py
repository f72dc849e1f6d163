"""Long heads cost a worker little memory, for as long as their connections last."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from bench.testbed.usage import resident_bytes
from tests.support.http_client import Client
from tests.support.plane import Plane, run_plane
from tests.support.waiting import wait_until

MOST: int = 48 << 20
"""Bytes by which a worker may grow: the bound of the issue's own check."""
CONNECTIONS = 60
LINE = "GET {} HTTP/1.1\r\nHost: x\r\n"
FAT = "".join(f"X-{number}: {'a' * 300}\r\n" for number in range(95))
"""Nearly 32 KiB of fields, as many as are allowed."""
SHORT = "".join(f"{number:x}: \r\n" for number in range(98))
LONG = "User-Agent: " + "a" * 15_000 + "\r\nX-Forwarded-For: " + "1.2.3.4," * 1_800 + "\r\n"
TARGET = "x" * 15_000


@pytest.fixture(scope="module")
def fat_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plane]:
    with run_plane(tmp_path_factory.mktemp("fat"), trusted_proxies=["127.0.0.1"]) as running:
        yield running


def growth(plane: Plane, open_one: Callable[[Client], None]) -> int:
    """By how much the worker grows with so many connections, each prepared by `open_one`."""
    pid = plane.workers[0].process.pid
    with ExitStack() as stack:
        before = resident_bytes(pid)
        for _ in range(CONNECTIONS):
            open_one(stack.enter_context(plane.connect(receive_buffer=4096)))
        assert plane.get("/healthz").status == 200
        return resident_bytes(pid) - before


@pytest.mark.alone
@pytest.mark.parametrize("fields", [FAT, SHORT, LONG], ids=["many fields", "short fields", "long fields"])
@pytest.mark.parametrize("before", ["", LINE.format("/healthz") + "\r\n"], ids=["first", "later"])
def test_fat_heads_without_an_end(fat_plane: Plane, fields: str, before: str) -> None:
    def open_one(client: Client) -> None:
        client.send((before + LINE.format("/download") + fields).encode())
        if before:
            assert client.read().status == 200

    assert growth(fat_plane, open_one) < MOST


@pytest.mark.alone
@pytest.mark.parametrize("fields", [FAT, LONG], ids=["many fields", "long fields"])
@pytest.mark.parametrize(
    "kind", ["plain", "a condition", "a body", "a long target", "a refusal before", "a question before"]
)
def test_slow_downloads_with_fat_heads(fat_plane: Plane, fields: str, kind: str) -> None:
    """The client takes the first bytes of a large file, and no more: the answer lasts."""
    link = fat_plane.link(fat_plane.publish(bytes(30_000_000)))
    more = {"a condition": "If-Match: *\r\n", "a body": "Content-Length: 5\r\n"}.get(kind, "")
    if kind == "a long target":
        link, fields = f"{link}&x={TARGET}", FAT[:12_000] + "\r\n"
    head = LINE.format(link) + more + fields + "\r\n" + ("hello" if kind == "a body" else "")

    def open_one(client: Client) -> None:
        if kind.endswith("before"):
            target = "/auth" if "question" in kind else "/download"
            client.send((LINE.format(target) + fields + "\r\n").encode())
            assert client.read().status == 401
        client.send(head.encode())
        assert b" 200 OK" in client.socket.recv(1000)

    assert growth(fat_plane, open_one) < MOST
    wait_until(lambda: fat_plane.get("/healthz").status == 200, "the worker is well")


@pytest.mark.alone
def test_idle_connections_keep_nothing_of_their_last_head(fat_plane: Plane) -> None:
    def open_one(client: Client) -> None:
        client.send((LINE.format("/healthz") + FAT + "\r\n").encode())
        assert client.read().status == 200

    assert growth(fat_plane, open_one) < MOST // 4
