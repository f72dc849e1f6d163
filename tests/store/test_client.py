"""The redis-py client: URLs, faults of the store, and commands that leave together."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TypeVar

import pytest

from gateway.errors import ConfigurationError, StoreUnavailable
from gateway.tokens.repositories import Repositories
from tests.support.repositories import create_many, manifest
from tests.support.store_server import StoreServer, send_signal
from tests.support.timing import lasts

T = TypeVar("T")


@pytest.mark.parametrize("url", ["", "http://x", "redis://:sec/ret@host", "redis://u:secret@host:port"])
def test_wrong_urls_are_not_quoted(url: str) -> None:
    with pytest.raises(ConfigurationError) as error:
        Repositories.connect(url)
    assert "sec" not in str(error.value)
    assert error.value.__suppress_context__


@pytest.mark.parametrize(
    "url",
    ["redis://user:secret@127.0.0.1:1/0", "unix://:secret@/nowhere/store.sock", "redis://:secret@256.0.0.1"],
)
async def test_a_server_that_is_not_there_is_an_error_without_secrets(url: str) -> None:
    async with Repositories.connect(url, 0.5) as repos:
        with pytest.raises(StoreUnavailable) as error:
            await repos.client.ping()
        assert "secret" not in str(error.value)


async def test_a_wrong_password_is_an_error_without_secrets(own_store: StoreServer) -> None:
    async with Repositories.connect(own_store.url) as repos:
        await repos.client.call("CONFIG", "SET", "requirepass", "opensesame")
    for url in (own_store.url, own_store.url.replace("unix://", "unix://:wrongsecret@")):
        async with Repositories.connect(url) as repos:
            with pytest.raises(StoreUnavailable) as error:
                await repos.products.list_all()
            assert "secret" not in str(error.value)
    async with Repositories.connect(own_store.url.replace("unix://", "unix://:opensesame@")) as repos:
        await repos.client.ping()


async def answered(call: Callable[[], Awaitable[T]]) -> T:
    """The first answer. A store that is only slow may need more time than a test allows it."""
    async with asyncio.timeout(60):
        while True:
            with suppress(StoreUnavailable):
                return await call()


async def test_a_server_that_comes_back_is_used_again(own_store: StoreServer) -> None:
    async with Repositories.connect(own_store.url, 30) as repos:
        await repos.products.register(manifest("p", "1"))
        await asyncio.gather(*(repos.tokens.create("p") for _ in range(50)))
        own_store.stop()
        answers = await asyncio.gather(*(repos.tokens.create("p") for _ in range(50)), return_exceptions=True)
        assert all(isinstance(answer, StoreUnavailable) for answer in answers)
        own_store.start()  # empty: the scripts are gone too
        await repos.products.register(manifest("p", "1"))
        assert len(await create_many(repos, 50)) == 50


@pytest.mark.timing
async def test_a_server_that_hangs_is_an_error_in_time(own_store: StoreServer) -> None:
    async with Repositories.connect(own_store.url, 0.3) as repos:
        await answered(repos.client.ping)
        send_signal(own_store, signal.SIGSTOP)
        with lasts(most=1), pytest.raises(StoreUnavailable, match=r"0\.3 s"):
            await repos.client.ping()
        send_signal(own_store, signal.SIGCONT)
        await answered(repos.client.ping)


async def test_a_full_server_is_an_error(own_store: StoreServer) -> None:
    async with Repositories.connect(own_store.url) as repos:
        await repos.products.register(manifest("p", "1"))
        await repos.client.call("CONFIG", "SET", "maxmemory", 1)
        with pytest.raises(StoreUnavailable, match="OOM"):
            await repos.tokens.create("p")


async def test_a_late_reply_never_reaches_another_command(own_store: StoreServer) -> None:
    async with Repositories.connect(own_store.url, 0.2) as repos:
        await answered(lambda: repos.client.call("SET", "a", "first"))
        send_signal(own_store, signal.SIGSTOP)
        with pytest.raises(StoreUnavailable, match="did not answer"):
            await repos.client.call("GET", "a")
        send_signal(own_store, signal.SIGCONT)

        async def both() -> list[object]:
            return list(await asyncio.gather(repos.client.call("ECHO", "x"), repos.client.call("GET", "a")))

        assert await answered(both) == ["x", "first"]


async def test_a_cancelled_caller_disturbs_no_other(repos: Repositories) -> None:
    await repos.products.register(manifest("p", "1"))
    ids = sorted(await create_many(repos, 200))

    async def check(identifier: str) -> None:
        for _ in range(10):
            record = await repos.tokens.get(identifier)
            assert record is not None
            assert record.id == identifier

    tasks = [asyncio.create_task(check(identifier)) for identifier in ids]
    for task in tasks[::2]:
        await asyncio.sleep(0)
        task.cancel()
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(answer is None for answer in answers[1::2])


async def test_a_caller_in_every_turn_of_the_loop_is_served(repos: Repositories) -> None:
    """A request made in the very turn in which the last sender ends must not wait for ever."""

    async def ask_often() -> None:
        for _ in range(300):
            await repos.client.ping()

    async with asyncio.timeout(60):
        await asyncio.gather(*(ask_often() for _ in range(8)))


async def test_arguments_and_replies_may_hold_any_bytes(repos: Repositories) -> None:
    text = b"\xff\x00\r\n\xc3\xa9".decode("utf-8", "surrogateescape")
    await repos.client.call_all(("HSET", "any", text, b"\xfe"), ("HSET", "any", "number", 7))
    assert await repos.client.call("HGETALL", "any") == {text: "\udcfe", "number": "7"}


async def test_a_connection_that_ends_between_two_batches_is_made_again(
    repos: Repositories, store: StoreServer
) -> None:
    async def call_on_and_on() -> set[int]:
        return {await repos.client.call("CLIENT", "ID") for _ in range(100)}

    number = await repos.client.call("CLIENT", "ID")
    calls = asyncio.gather(*(call_on_and_on() for _ in range(3)))
    async with Repositories.connect(store.url) as other:
        await other.client.call("CLIENT", "KILL", "ID", number)
    await calls
    assert await repos.client.call("CLIENT", "ID") != number
