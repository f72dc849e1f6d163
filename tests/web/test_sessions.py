"""Sessions in the store: by hash, with an idle time and an end, listed and ended."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from gateway.store.client import StoreClient
from gateway.store.key_names import session_key, sessions_key
from gateway.web.sessions import MAX_AGENT, MAX_SESSIONS, Cookie, Sessions
from tests.support.control_plane import read_store
from tests.support.store_server import StoreServer


@pytest.fixture
async def client(store: StoreServer) -> AsyncIterator[StoreClient]:
    async with StoreClient([store.url], 10) as found:
        yield found


@pytest.fixture
def subject() -> str:
    return uuid.uuid4().hex


async def test_a_session_is_found_by_its_secret_alone(
    client: StoreClient, subject: str, store: StoreServer
) -> None:
    sessions = Sessions(client, "customer")
    secret = await sessions.make(subject, "Firefox " + "x" * 1000)
    found = await sessions.find(secret)
    assert found is not None
    assert (found.subject, found.kind, len(found.agent)) == (subject, "customer", MAX_AGENT)
    assert found.created <= found.seen < found.ends
    assert await Sessions(client, "user").find(secret) is None, "a customer is no user"
    for other in ("", secret[:-1], secret + "x", "é" * 43, found.id, found.id[:43], "A" * 43):
        assert await sessions.find(other) is None
    assert secret not in await read_store(store.url)


async def test_a_session_ends_when_it_is_idle_and_at_its_end(client: StoreClient, subject: str) -> None:
    short = Sessions(client, "customer", idle=60_000, longest=100_000)
    session = await short.find(await short.make(subject, ""))
    assert session is not None
    assert 50_000 < await client.call("PTTL", session_key(session.id)) <= 60_000
    # used a minute later, the idle time begins anew, but not beyond the end
    await client.call(
        "HSET", session_key(session.id), "seen", session.seen - 60_001, "ends", session.seen + 30_000
    )
    secret = await short.make(subject, "")
    other = await short.find(secret)
    assert other is not None
    await client.call("HSET", session_key(other.id), "seen", other.seen - 60_001, "ends", other.seen + 30_000)
    assert await short.find(secret) is not None
    assert await client.call("PTTL", session_key(other.id)) <= 30_000
    await client.call("PEXPIRE", session_key(other.id), 1)
    async with asyncio.timeout(60):
        while await short.find(secret) is not None:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    assert [each.id for each in await short.list(subject)] == [session.id]
    assert await client.call("ZCARD", sessions_key("customer", subject)) == 1, (
        "what has ended leaves the list"
    )


async def test_sessions_are_ended(client: StoreClient, subject: str) -> None:
    sessions = Sessions(client, "customer")
    secrets = [await sessions.make(subject, f"browser {number}") for number in range(4)]
    found = [await sessions.find(each) for each in secrets]
    ids = [each.id for each in found if each is not None]
    assert {each.id for each in await sessions.list(subject)} == set(ids)
    assert not await sessions.end("another", ids[0]), "nobody ends the session of another"
    assert await sessions.find(secrets[0]) is not None
    assert await sessions.end(subject, ids[0])
    assert await sessions.find(secrets[0]) is None
    await sessions.end_all(subject, keep=ids[1])
    assert [each.id for each in await sessions.list(subject)] == [ids[1]]
    await sessions.end_all(subject)
    assert await sessions.list(subject) == []


async def test_sessions_of_one_subject_are_bounded(client: StoreClient, subject: str) -> None:
    sessions = Sessions(client, "customer")
    for _ in range(MAX_SESSIONS + 3):
        last = await sessions.make(subject, "")
    assert len(await sessions.list(subject)) == MAX_SESSIONS
    assert await sessions.find(last) is not None


@pytest.mark.parametrize(("secure", "name"), [(True, "__Host-customer"), (False, "customer")])
def test_the_cookie(secure: bool, name: str) -> None:
    response = web.Response()
    Cookie("customer", secure=secure).set(response, "secret")
    text = response.cookies[name].OutputString()
    assert ("Secure" in text) is secure
    assert all(part in text for part in ("HttpOnly", "SameSite=Lax", "Path=/", "Max-Age=7776000"))
    Cookie("customer", secure=secure).remove(response)
    assert "Max-Age=0" in response.cookies[name].OutputString()
