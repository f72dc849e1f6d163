"""Two real servers and a name that is turned: no demoted server is used, on the hot path and off it."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
import redis

from gateway.errors import StoreUnavailable
from gateway.runtime.deferred import stepped
from gateway.store.scripts import SCRIPTS
from gateway.store.topology import Topology
from gateway.tokens.claims import Claims
from gateway.tokens.repositories import Repositories
from tests.support.failover import StoreName, run_failover
from tests.support.repositories import manifest
from tests.support.store_server import StoreServer
from tests.support.waiting import until

TIMEOUT = 10
"""Seconds. None of these servers is slow, but the machine may be."""
DENIED = [
    pytest.param((), id="none"),
    *(
        pytest.param(words, id="-".join(words), marks=pytest.mark.slow)
        for words in (("ROLE",), ("ROLE", "HELLO"), ("ROLE", "HELLO", "INFO"))
    ),
]
"""Commands that the servers do not know: services forbid some, and old versions lack some."""


@asynccontextmanager
async def topology(url: str) -> AsyncIterator[Topology]:
    made = Topology.connect([url], timeout=TIMEOUT, queue=100, scripts=SCRIPTS)
    made.start()
    try:
        await until(lambda: made.is_ready)
        yield made
    finally:
        await made.stop()


async def reads(claims: Claims, identifier: str) -> bool:
    """Whether the store tells of a token; a reply that tells that it is revoked counts too."""
    try:
        await claims.read_token(identifier).as_future()
    except StoreUnavailable:
        return False
    return True


async def answers(work: Awaitable[object]) -> bool:
    try:
        await work
    except StoreUnavailable:
        return False
    return True


async def until_true(check: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(60):
        while not await check():  # noqa: ASYNC110 - nothing announces what is waited for
            await asyncio.sleep(0.02)


def lines(caplog: pytest.LogCaptureFixture, level: int = logging.WARNING) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= level]


def without(commands: tuple[str, ...]) -> list[str]:
    return [word for command in commands for word in ("--rename-command", command, "")]


@pytest.mark.slow
@pytest.mark.parametrize("denied", DENIED)
async def test_the_hot_path_leaves_a_demoted_server(
    denied: tuple[str, ...], caplog: pytest.LogCaptureFixture
) -> None:
    """Only look-ups are made. The revoked link is never opened; the log says once why, and once that it
    ended."""
    caplog.set_level(logging.INFO)
    # the replica asks its primary for nothing that is denied here
    with run_failover(*without(denied)) as pair:
        async with Repositories.connect(pair.url) as repos, topology(pair.url) as made:
            claims = Claims(made)
            await repos.products.register(manifest("p", "1"))
            identifier = (await repos.tokens.create("p", max_downloads=3)).record.id
            assert await reads(claims, identifier)
            pair.promote()
            await until_true(lambda: refuses(claims, identifier))
            pair.new.hset(f"dg:token:{{{identifier}}}", "revoked", "1")  # on the new primary
            for _ in range(50):  # it connects to the demoted one again and again, and believes nothing
                assert not await reads(claims, identifier)
                await asyncio.sleep(0.02)
            with pytest.raises(StoreUnavailable) as error:
                await stepped(claims.check()).as_future()
            assert error.value.reason.startswith("READONLY")
            pair.turn()
            await until_true(lambda: reads(claims, identifier))
            reply = await claims.read_token(identifier).as_future()
            assert reply[1] == b"1", "the reply is the new primary's"
            await stepped(claims.check()).as_future()
            await until(lambda: "the store is back" in lines(caplog))
    told = [line for line in lines(caplog) if "the store" in line]
    assert [("READONLY" in line, "is back" in line) for line in told] == [(True, False), (False, True)], told


async def refuses(claims: Claims, identifier: str) -> bool:
    return not await reads(claims, identifier)


@pytest.mark.slow
async def test_a_refund_survives_the_failover() -> None:
    """A settle that the demoted server refuses is sent to the new primary."""
    with run_failover() as pair:
        async with Repositories.connect(pair.url) as repos, topology(pair.url) as made:
            claims = Claims(made)
            await repos.products.register(manifest("p", "1"))
            identifier = (await repos.tokens.create("p", max_downloads=1)).record.id
            await stepped(claims.claim(identifier, 0, 100, 100)).as_future()
            pair.promote()
            for _ in range(4):
                claims.settle(identifier, 0, 10)
            await until(lambda: claims.owed == 4)
            pair.turn()
            await until(lambda: claims.owed == 0, 20)
            await until_true(lambda: is_charged(pair.new, identifier, 60))


async def is_charged(server: redis.Redis, identifier: str, amount: int) -> bool:
    return server.hget(f"dg:token:{{{identifier}}}", "charged:0") == str(amount)


@pytest.mark.slow
@pytest.mark.parametrize("denied", DENIED)
async def test_the_client_leaves_a_demoted_server(
    denied: tuple[str, ...], caplog: pytest.LogCaptureFixture
) -> None:
    """A key that is revoked on the new primary is not accepted, and all connections of the pool are made
    anew."""
    caplog.set_level(logging.INFO)
    with run_failover(*without(denied)) as pair:
        logger = logging.getLogger("gateway.tests")
        async with Repositories.connect(pair.url, TIMEOUT, logger) as repos:
            watch = asyncio.create_task(repos.client.watch())
            await repos.products.register(manifest("p", "1"))
            await asyncio.gather(*(repos.products.list_all() for _ in range(20)))
            pair.promote()
            await until_true(lambda: fails(repos))
            with pytest.raises(StoreUnavailable) as error:
                await repos.client.check()
            assert error.value.reason.startswith("READONLY")
            pair.new.delete("dg:products")
            pair.turn()
            await until_true(lambda: answers(repos.client.check()))
            assert await repos.products.list_all() == []
            await repos.products.register(manifest("q", "1"))
            await until(lambda: "the store is back" in lines(caplog), 20)
            watch.cancel()
    told = [line for line in lines(caplog) if "the store" in line]
    assert [("READONLY" in line, "is back" in line) for line in told] == [(True, False), (False, True)], told


async def fails(repos: Repositories) -> bool:
    """Whether look-ups fail. Where nothing tells the role, only a write shows the replica."""
    return not await answers(repos.client.check()) and not await answers(repos.client.check())


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [1, 2])
async def test_redis_timeout_makes_no_line(
    own_store: StoreServer, caplog: pytest.LogCaptureFixture, seconds: int
) -> None:
    """Redis closes idle connections: ours are not idle, and where they were, nothing is wrong."""
    caplog.set_level(logging.INFO)
    logger = logging.getLogger("gateway.tests")
    async with (
        topology(own_store.url) as made,
        Repositories.connect(own_store.url, TIMEOUT, logger) as repos,
    ):
        with redis.Redis.from_url(own_store.url) as admin:
            admin.config_set("timeout", seconds)
        await asyncio.gather(*(repos.products.list_all() for _ in range(50)))
        watch = asyncio.create_task(repos.client.watch())
        await asyncio.sleep(seconds + 2.5)
        await stepped(Claims(made).check()).as_future()
        await asyncio.gather(*(repos.products.list_all() for _ in range(50)))
        watch.cancel()
    assert lines(caplog) == []


async def test_a_permission_that_only_requests_need_is_told_and_shown(
    own_store: StoreServer, caplog: pytest.LogCaptureFixture
) -> None:
    """The check of /readyz cannot know that HINCRBY is missing, before a claim has met it."""
    caplog.set_level(logging.INFO)
    async with topology(own_store.url) as made, Repositories.connect(own_store.url) as repos:
        claims = Claims(made)
        await repos.products.register(manifest("p", "1"))
        identifier = (await repos.tokens.create("p", max_downloads=1)).record.id
        with redis.Redis.from_url(own_store.url) as admin:
            admin.execute_command("ACL", "SETUSER", "default", "-hincrby")
        for _ in range(3):
            with pytest.raises(StoreUnavailable):
                await stepped(claims.claim(identifier, 0, 1, 100)).as_future()
            await asyncio.sleep(0.7)
        with pytest.raises(StoreUnavailable) as error:
            await stepped(claims.check()).as_future()
        assert error.value.reason.startswith("NOPERM")
    assert ["NOPERM" in line for line in lines(caplog)] == [True]


async def test_an_idle_connection_that_is_closed_is_no_fault(
    own_store: StoreServer, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.store.primary_watch.ASK_SECONDS", 1000)
    caplog.set_level(logging.INFO)
    name = StoreName(own_store.socket)
    async with topology(name.url) as made:
        await asyncio.sleep(1.3)
        name.cut()
        await until(lambda: name.accepted == 2)
        await until(lambda: made.is_ready)
        assert lines(caplog) == []
        while not lines(caplog):
            await until(lambda: made.is_ready)
            name.cut()  # again, at once: this one was in use, or it was on a busy machine, and then once more
            await asyncio.sleep(0.05)
        assert lines(caplog) == ["the connection to the store was lost"]
    name.close()


async def test_a_store_that_dies_is_told_and_so_is_each_new_reason(
    own_store: StoreServer, caplog: pytest.LogCaptureFixture
) -> None:
    """The connection is lost, nobody listens, then the password is wrong: one line each, and one at the
    end."""
    caplog.set_level(logging.INFO)
    async with topology(own_store.url) as made:
        claims = Claims(made)
        own_store.stop()
        await until(lambda: len(lines(caplog)) == 2)
        await asyncio.sleep(1)  # several attempts
        assert len(lines(caplog)) == 2
        own_store.options = ("--requirepass", "other")
        own_store.start()
        await until(lambda: len(lines(caplog)) == 3)
        with pytest.raises(StoreUnavailable) as error:
            await stepped(claims.check()).as_future()
        assert error.value.reason.startswith("NOAUTH")
        own_store.stop()
        own_store.options = ()
        own_store.start()
        await until_true(lambda: answers(stepped(claims.check()).as_future()))
        await until(lambda: "the store is back" in lines(caplog))
    told = lines(caplog)
    assert told[0] == "the connection to the store was lost"
    assert "NOAUTH" in told[2]
    assert told[-1] == "the store is back"
    assert len([line for line in told if "NOAUTH" in line]) == 1


FAULTS = {
    "OOM": (("CONFIG", "SET", "maxmemory", "1"), ("CONFIG", "SET", "maxmemory", "0")),
    "NOREPLICAS": (
        ("CONFIG", "SET", "min-replicas-to-write", "1"),
        ("CONFIG", "SET", "min-replicas-to-write", "0"),
    ),
    "NOPERM": (("ACL", "SETUSER", "default", "-evalsha"), ("ACL", "SETUSER", "default", "+@all")),
}


@pytest.mark.parametrize("code", FAULTS)
async def test_a_server_that_cannot_serve_is_reported_once(
    own_store: StoreServer, caplog: pytest.LogCaptureFixture, code: str
) -> None:
    """Look-ups go on; /readyz of every service says why claims fail, and both logs say it once."""
    caplog.set_level(logging.INFO)
    begin, end = FAULTS[code]
    logger = logging.getLogger("gateway.tests")
    async with (
        topology(own_store.url) as made,
        Repositories.connect(own_store.url, TIMEOUT, logger) as repos,
    ):
        claims = Claims(made)
        watch = asyncio.create_task(repos.client.watch())
        with redis.Redis.from_url(own_store.url) as admin:
            admin.execute_command(*begin)
            for _ in range(20):
                await answers(stepped(claims.check()).as_future())
                await answers(repos.client.check())
                assert await reads(claims, "0" * 32)
                await asyncio.sleep(0.05)
            with pytest.raises(StoreUnavailable) as error:
                await stepped(claims.check()).as_future()
            assert error.value.reason.startswith(code)
            admin.execute_command(*end)
        await until_true(lambda: answers(stepped(claims.check()).as_future()))
        await until(lambda: "the store is back" in lines(caplog), 20)
        await until_true(lambda: answers(repos.client.check()))
        watch.cancel()
    told = [line for line in lines(caplog) if code in line]
    assert len(told) == (1 if code == "NOPERM" else 2), told  # the client needs no EVALSHA for its check


async def test_nothing_connects_without_end(own_store: StoreServer, caplog: pytest.LogCaptureFixture) -> None:
    """A server that ends each connection as soon as it is ready gets few attempts, and the log two lines."""
    name = StoreName(own_store.socket)
    async with topology(name.url) as made:
        begun = time.monotonic()
        for _ in range(30):
            name.cut()
            await asyncio.sleep(0.05)
        later = 3 * (time.monotonic() - begun)  # the longest pause is half a second
        assert name.accepted < 15 + later
        assert len(lines(caplog)) <= 2
        await until(lambda: made.is_ready)
    name.close()
