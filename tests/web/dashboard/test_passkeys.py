"""Passkeys over HTTP: a challenge is for one browser and one answer."""

from __future__ import annotations

import asyncio
import json

import pytest

from gateway.config.settings import Settings
from gateway.users.passkeys import PasskeyRepository, registration_options
from gateway.users.relying_party import relying_party
from gateway.users.repository import UserRepository
from gateway.web.dashboard.challenges import make_challenge, take_challenge
from tests.support.authenticator import Authenticator
from tests.support.control_plane import Api, read_store
from tests.support.dashboard import Visitor, open_database_of, open_visitor


@pytest.fixture
async def key(owner: Visitor, api: Api, settings: Settings) -> Authenticator:
    """A passkey of maria's for http://localhost."""
    origin = f"http://localhost:{api.port}"
    site = relying_party(origin)
    assert site is not None
    async with open_database_of(settings) as database:
        user = await UserRepository(database).find("maria")
        assert user is not None
        made = Authenticator(origin, site.id, user=user.id.encode())
        challenge = "x" * 43
        options = json.loads(registration_options(site, user, [], challenge))
        await PasskeyRepository(database).add(site, user, "key", made.register(options), challenge)
    return made


async def options_of(visitor: Visitor) -> dict[str, str]:
    answer = await visitor.post("/passkey/options")
    assert (answer.status, answer.headers["Cache-Control"]) == (200, "no-store")
    options: dict[str, str] = json.loads(answer.text)
    return options


async def test_a_passkey_signs_in_and_its_answer_counts_once(key: Authenticator) -> None:
    url = key.origin
    async with open_visitor(url) as visitor, open_visitor(url) as thief:
        answer = key.sign(await options_of(visitor))
        await options_of(thief)
        assert (await thief.post("/passkey/sign-in", answer=answer)).status == 401, "another browser's"
        signed = await visitor.post("/passkey/sign-in", answer=answer, next="/settings/changes")
        assert (signed.status, signed.location) == (303, "/settings/changes")
        assert "user.sign_in" in (await visitor.get("/settings/changes")).text
        for replay in (answer, key.sign({"challenge": "x" * 43})):
            assert (await visitor.post("/passkey/sign-in", answer=replay)).status == 401


async def test_of_two_answers_at_once_one_counts(key: Authenticator) -> None:
    async with open_visitor(key.origin) as visitor:
        options = await options_of(visitor)
        answers = [key.sign(options) for _ in range(3)]
        done = await asyncio.gather(*(visitor.post("/passkey/sign-in", answer=each) for each in answers))
        assert sorted(each.status for each in done) == [303, 401, 401]


async def test_nothing_is_asked_where_browsers_allow_no_passkeys(owner: Visitor, stranger: Visitor) -> None:
    """http://127.0.0.1 is an address."""
    assert (await stranger.post("/passkey/options")).status == 404
    assert "passkey" not in (await stranger.get("/sign-in")).text
    assert (await stranger.post("/passkey/sign-in", answer="{}")).status == 401


async def test_a_challenge_is_taken_once_and_the_store_does_not_know_for_whom(
    api: Api, settings: Settings
) -> None:
    store_client = api.store.client
    secret, challenge = await make_challenge(store_client)
    assert secret not in await read_store(settings.redis_url or "")
    assert await take_challenge(store_client, "") is None
    assert await take_challenge(store_client, "x" * 300) is None
    assert await take_challenge(store_client, secret + "x") is None
    assert await take_challenge(store_client, secret) == challenge
    assert await take_challenge(store_client, secret) is None
