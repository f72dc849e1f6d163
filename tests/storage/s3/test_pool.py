"""The pool of connections: kept, used again, found dead, waited for, or impossible to open."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.errors import StorageError
from gateway.runtime.metrics import UPSTREAM_REQUESTS, UPSTREAM_RETRIES
from gateway.storage import retries
from gateway.storage.s3 import pool
from gateway.storage.s3.storage import S3Storage
from tests.support.bucket_faults import Fault
from tests.support.bucket_objects import Pattern
from tests.support.faulty_bucket import Upstream
from tests.support.s3_storage import Counted, Make, read
from tests.support.streams import rest
from tests.support.waiting import until

CONTENT = Pattern(3_000_000)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retries, "FIRST_BACKOFF", 0.001)


async def test_a_connection_is_used_again(upstream: Upstream, make: Make, counted: Counted) -> None:
    file = upstream.put("a", CONTENT)
    storage = make()
    for at in range(20):
        assert await read(storage, file, at, at + 100) == CONTENT[at : at + 100]
    await storage.check(file)
    assert upstream.connections == 1
    assert counted.held == (0, 1)


@pytest.mark.parametrize("how", ["cut", "closed"])
async def test_a_connection_that_died_while_idle_is_not_used_again(
    upstream: Upstream, make: Make, counted: Counted, how: str
) -> None:
    file = upstream.put("a", b"0123456789")
    storage = make()
    upstream.faults.append(Fault(short_after=10) if how == "closed" else Fault())
    assert await read(storage, file) == b"0123456789"
    if how == "cut":
        upstream.cut()
    await until(lambda: upstream.open == 0)
    await asyncio.sleep(0.02)
    assert await read(storage, file) == b"0123456789"
    assert counted[UPSTREAM_REQUESTS] == 2
    assert counted[UPSTREAM_RETRIES] == 0


@pytest.mark.parametrize("how", ["reset", "close"])
async def test_a_connection_lost_when_used_again_does_not_count_as_a_try(
    upstream: Upstream, make: Make, counted: Counted, how: str
) -> None:
    file = upstream.put("a", b"0123456789")
    storage = make()
    assert await read(storage, file) == b"0123456789"
    upstream.faults.append(Fault(before_head=how))
    assert await read(storage, file) == b"0123456789"
    assert counted[UPSTREAM_REQUESTS] == 3
    assert counted[UPSTREAM_RETRIES] == 0
    assert upstream.connections == 2


async def test_surplus_bytes_are_never_read_as_a_response(
    upstream: Upstream, make: Make, counted: Counted
) -> None:
    file = upstream.put("a", b"0123456789")
    storage = make()
    upstream.faults.append(Fault(fields={"Content-Length": "5"}))
    assert await read(storage, replace(file, size=5)) == b"01234"
    assert await read(storage, file) == b"0123456789"
    assert upstream.connections == 2


async def test_idle_connections_are_closed_after_a_while(
    upstream: Upstream, make: Make, counted: Counted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "IDLE_SECONDS", 0.05)
    file = upstream.put("a", CONTENT)
    storage = make()
    await asyncio.gather(*(read(storage, file) for _ in range(3)))
    await until(lambda: counted.held == (0, 0))
    await until(lambda: upstream.open == 0)
    assert await read(storage, file, 0, 1) == CONTENT[:1]


async def test_there_are_never_more_than_the_setting_says(
    upstream: Upstream, make: Make, counted: Counted
) -> None:
    file = upstream.put("a", CONTENT)
    storage = make(connections=3)
    most = 0

    async def one() -> None:
        nonlocal most
        stream = await storage.lookup(file).fetch(0, file.size)
        most = max(most, counted.held[0])
        assert await rest(stream) == CONTENT[0 : file.size]
        stream.close()

    await asyncio.gather(*(one() for _ in range(20)))
    assert most == 3
    assert upstream.connections <= 3


async def test_a_request_that_finds_all_in_use_waits_and_then_names_the_setting(
    upstream: Upstream, make: Make, counted: Counted
) -> None:
    file = upstream.put("a", CONTENT)
    hasty = make(connections=2, connect_timeout=0.5)
    streams = [await hasty.lookup(file).fetch(0, file.size) for _ in range(2)]
    with pytest.raises(StorageError, match="all 2 connections are in use: raise `connections`"):
        await read(hasty, file)
    for stream in streams:
        stream.close()
    storage = make(connections=2)
    streams = [await storage.lookup(file).fetch(0, file.size) for _ in range(2)]
    waiting = [asyncio.create_task(read(storage, file, at, at + 10)) for at in range(3)]
    await asyncio.sleep(0.05)
    waiting[1].cancel()
    streams[0].close()
    assert await waiting[0] == CONTENT[0:10]
    assert await waiting[2] == CONTENT[2:12]
    streams[1].close()
    assert len(await asyncio.gather(*(read(storage, file) for _ in range(4)))) == 4
    assert counted.held[0] == 0


async def test_a_permit_granted_to_a_cancelled_request_is_not_lost(
    upstream: Upstream, make: Make, counted: Counted
) -> None:
    file = upstream.put("a", CONTENT)
    storage = make(connections=1)
    for _ in range(20):
        stream = await storage.lookup(file).fetch(0, file.size)
        waiting = asyncio.create_task(read(storage, file, 0, 5))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        stream.close()
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
    assert await read(storage, file, 0, 5) == CONTENT[:5]
    assert counted.held[0] == 0


# Connecting.


async def test_a_storage_that_is_not_there(plain: Upstream, counted: Counted) -> None:
    file = plain.put("a", CONTENT)
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    storage = S3Storage(plain.bucket(port=port), counted.add)
    with pytest.raises(StorageError, match=f"after 4 tries: 127.0.0.1:{port} cannot be reached: .*refused"):
        await read(storage, file)
    storage = S3Storage(plain.bucket(host="nowhere.invalid"), counted.add)
    with pytest.raises(StorageError, match=r"nowhere\.invalid cannot be looked up"):
        await read(storage, file)
    assert counted.held == (0, 0)


async def test_the_next_address_is_tried(
    plain: Upstream, counted: Counted, monkeypatch: pytest.MonkeyPatch
) -> None:
    """localhost is ::1, where nobody listens, and 127.0.0.1."""
    found = [
        (family, socket.SOCK_STREAM, 6, "", (address, plain.port))
        for family, address in ((socket.AF_INET6, "::1"), (socket.AF_INET, "127.0.0.1"))
    ]

    async def look_up(*_: object, **__: object) -> object:
        return found

    loop = asyncio.get_running_loop()

    class Loop:
        def __getattr__(self, name: str) -> object:
            return look_up if name == "getaddrinfo" else getattr(loop, name)

    monkeypatch.setattr("gateway.storage.s3.opening.asyncio.get_running_loop", Loop)
    storage = S3Storage(plain.bucket(host="localhost"), counted.add)
    stream = await storage.lookup(plain.put("a", CONTENT)).fetch(0, 10)
    monkeypatch.undo()
    assert await rest(stream) == CONTENT[:10]
    storage.close()


@pytest.fixture
def silent() -> Iterator[int]:
    """A port where connections are accepted by the kernel, and nobody speaks."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


async def test_a_handshake_that_is_not_answered(secure: Upstream, counted: Counted, silent: int) -> None:
    storage = S3Storage(secure.bucket(port=silent, connect_timeout=0.1), counted.add)
    with pytest.raises(StorageError, match=r"does not answer in time \(connect_timeout\)"):
        await read(storage, secure.put("a", CONTENT))
    assert counted.held == (0, 0)


@pytest.fixture
def everywhere(certificate: tuple[Path, Path]) -> Iterator[Upstream]:
    """Over TLS, on every address of this machine."""
    with Upstream(certificate, host="0.0.0.0") as running:
        yield running


async def test_certificates_are_checked(everywhere: Upstream, counted: Counted) -> None:
    secure = everywhere
    file = secure.put("a", CONTENT)
    untrusted = S3Storage(secure.bucket(ca_file=None), counted.add)
    with pytest.raises(StorageError, match=r"the certificate of localhost:.* is not valid .*check `ca_file`"):
        await read(untrusted, file)
    another = S3Storage(secure.bucket(host="127.0.0.2"), counted.add)
    with pytest.raises(StorageError, match=r"the certificate of 127\.0\.0\.2:.* is not valid"):
        await read(another, file)
    missing = S3Storage(secure.bucket(ca_file="/nowhere/ca.pem"), counted.add)
    with pytest.raises(StorageError, match=r"ca_file '/nowhere/ca\.pem': it or its folder does not exist"):
        await read(missing, file)
    unchecked = S3Storage(secure.bucket(ca_file=None, verify=False), counted.add)
    assert await read(unchecked, file, 0, 5) == CONTENT[:5]
    unchecked.close()
    assert counted.held == (0, 0)


async def test_a_storage_without_tls_is_no_storage_with(plain: Upstream, counted: Counted) -> None:
    storage = S3Storage(plain.bucket(tls=True), counted.add)
    with pytest.raises(StorageError, match="cannot be reached"):
        await read(storage, plain.put("a", CONTENT))
