"""Codes and links in the store: bound to a browser, few tries, once, and void after a newer mail."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from gateway.store.client import StoreClient
from gateway.store.key_names import link_key
from gateway.web.portal.challenges import LIFETIME, MOVE, SIGN_IN, Challenges, Link
from gateway.web.portal.codes import MAX_TRIES, hash_of, new_secret
from tests.support.control_plane import read_store
from tests.support.store_server import StoreServer

CODE, WRONG = "12345678", "87654321"
ANN = Link("customer", "hash of ann")


@pytest.fixture
async def client(store: StoreServer) -> AsyncIterator[StoreClient]:
    async with StoreClient([store.url], 10) as found:
        yield found


@pytest.fixture
def challenges(client: StoreClient) -> Challenges:
    return Challenges(client)


async def test_a_code_is_met_once_in_the_browser_that_asked(challenges: Challenges) -> None:
    secret, other = new_secret(), new_secret()
    await challenges.start(SIGN_IN, "ann", secret, CODE)
    assert await challenges.attempt(SIGN_IN, "ann", other, CODE) == "gone"
    assert await challenges.attempt(SIGN_IN, "bob", secret, CODE) == "gone"
    assert await challenges.attempt(MOVE, "ann", secret, CODE) == "gone"
    assert await challenges.attempt(SIGN_IN, "ann", secret, WRONG) == "wrong"
    assert await challenges.attempt(SIGN_IN, "ann", secret, CODE) == "met"
    assert await challenges.attempt(SIGN_IN, "ann", secret, CODE) == "gone"


async def test_a_code_is_spent_after_its_tries_and_other_browsers_spend_none(challenges: Challenges) -> None:
    secret = new_secret()
    await challenges.start(SIGN_IN, "ann", secret, CODE)
    for _ in range(2 * MAX_TRIES):
        assert await challenges.attempt(SIGN_IN, "ann", new_secret(), WRONG) == "gone"
    said = [await challenges.attempt(SIGN_IN, "ann", secret, WRONG) for _ in range(MAX_TRIES)]
    assert said == ["wrong"] * (MAX_TRIES - 1) + ["spent"]
    assert await challenges.attempt(SIGN_IN, "ann", secret, CODE) == "spent"


async def test_tries_at_the_same_moment_are_counted(challenges: Challenges) -> None:
    secret = new_secret()
    await challenges.start(SIGN_IN, "ann", secret, CODE)
    tries = [challenges.attempt(SIGN_IN, "ann", secret, f"{number:08}") for number in range(50)]
    assert sorted(await asyncio.gather(*tries)) == ["spent"] * 46 + ["wrong"] * 4
    await challenges.start(SIGN_IN, "ann", secret, CODE)
    met = await asyncio.gather(*(challenges.attempt(SIGN_IN, "ann", secret, CODE) for _ in range(5)))
    assert sorted(met) == ["gone"] * 4 + ["met"]


async def test_a_newer_mail_makes_code_and_link_void(challenges: Challenges) -> None:
    first, second, old, new = (new_secret() for _ in range(4))
    await challenges.add_link(await challenges.start(SIGN_IN, "ann", first, CODE), old, ANN)
    assert await challenges.find_link(old) == ANN
    await challenges.add_link(await challenges.start(SIGN_IN, "ann", second, WRONG), new, ANN)
    assert await challenges.attempt(SIGN_IN, "ann", first, CODE) == "gone"
    assert await challenges.find_link(old) is None
    assert await challenges.take_link(old) is None
    assert await challenges.take_link(new) == ANN


async def test_a_link_is_looked_at_often_and_taken_once(challenges: Challenges) -> None:
    secret, link = new_secret(), new_secret()
    await challenges.add_link(await challenges.start(SIGN_IN, "ann", secret, CODE), link, ANN)
    for _ in range(5):
        assert await challenges.find_link(link) == ANN
    taken = await asyncio.gather(*(challenges.take_link(link) for _ in range(5)))
    assert sorted(taken, key=str) == [ANN, *[None] * 4] or taken.count(None) == 4
    assert await challenges.find_link(link) is None
    # a scanner that presses buttons has taken the link: the person who asked still has the code
    assert await challenges.attempt(SIGN_IN, "ann", secret, CODE) == "met"


async def test_a_code_that_was_met_ends_the_link(challenges: Challenges) -> None:
    secret, link = new_secret(), new_secret()
    await challenges.add_link(await challenges.start(SIGN_IN, "ann", secret, CODE), link, ANN)
    assert await challenges.attempt(SIGN_IN, "ann", secret, CODE) == "met"
    assert await challenges.take_link(link) is None


async def test_wrong_codes_leave_the_link(challenges: Challenges) -> None:
    secret, link = new_secret(), new_secret()
    await challenges.add_link(await challenges.start(SIGN_IN, "ann", secret, CODE), link, ANN)
    for _ in range(MAX_TRIES + 1):
        await challenges.attempt(SIGN_IN, "ann", secret, WRONG)
    assert await challenges.take_link(link) == ANN


@pytest.mark.parametrize("text", ["", "a", "x" * 43, "é" * 43, "../" * 14 + "a", "a" * 5000])
async def test_what_is_no_link_is_none(challenges: Challenges, text: str) -> None:
    assert await challenges.find_link(text) is None
    assert await challenges.take_link(text) is None


async def test_the_store_has_hashes_alone_and_forgets(
    challenges: Challenges, client: StoreClient, store: StoreServer
) -> None:
    secret, link = new_secret(), new_secret()
    challenge = await challenges.start(SIGN_IN, "ann@example.com", secret, CODE)
    await challenges.add_link(challenge, link, ANN)
    everything = await read_store(store.url)
    for text in (secret, link, CODE, "ann@example.com"):
        assert text not in everything
    for key in (challenge.key, link_key(hash_of("link", link))):
        left = int((await client.call("EVAL", "return redis.call('PTTL', KEYS[1])", 1, key)) or 0)
        assert 0 < left <= LIFETIME


async def test_two_codes_must_both_be_right(challenges: Challenges) -> None:
    secret = new_secret()
    await challenges.start(MOVE, "ann", secret, CODE, WRONG)
    for codes in ((CODE, CODE), (WRONG, WRONG), (WRONG, CODE)):
        assert await challenges.attempt(MOVE, "ann", secret, *codes) == "wrong"
    assert await challenges.attempt(MOVE, "ann", secret, CODE, WRONG) == "met"
