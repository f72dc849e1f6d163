"""Passkeys: what an authenticator signs is taken once, on its own site, for its own user."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from gateway.database.engine import Database
from gateway.users.passkeys import (
    MOST_PASSKEYS,
    PasskeyRefused,
    PasskeyRepository,
    authentication_options,
    new_challenge,
    registration_options,
)
from gateway.users.relying_party import RelyingParty
from gateway.users.repository import User, UserFault, UserRefused, UserRepository
from tests.support.authenticator import PRESENT, Authenticator
from tests.support.users import make_user

SITE = RelyingParty("gateway.example", "https://gateway.example")
CHALLENGE = "Y2hhbGxlbmdlIG9mIDMyIGJ5dGVzIG9yIHNvISEhISE"


def asked(challenge: str = CHALLENGE) -> dict[str, Any]:
    options: dict[str, Any] = json.loads(authentication_options(SITE, challenge))
    return options


def authenticator(user: User, **changes: Any) -> Authenticator:
    return replace(Authenticator(SITE.origin, SITE.id, user=user.id.encode()), **changes)


async def add(database: Database, user: User, device: Authenticator, challenge: str = CHALLENGE) -> None:
    options = json.loads(registration_options(SITE, user, [], challenge))
    await PasskeyRepository(database).add(SITE, user, " My  key ", device.register(options), challenge)


async def is_taken(passkeys: PasskeyRepository, answer: str) -> bool:
    try:
        await passkeys.verify(SITE, answer, CHALLENGE)
    except PasskeyRefused:
        return False
    return True


async def test_a_passkey_signs_its_user_in(database: Database) -> None:
    user = await make_user(database)
    device = authenticator(user)
    passkeys = PasskeyRepository(database)
    await add(database, user, device)
    [known] = await passkeys.list_of(user.id)
    assert (known.name, known.used) == ("My key", None)
    assert await passkeys.verify(SITE, device.sign(asked()), CHALLENGE) == user.id
    assert (await passkeys.list_of(user.id))[0].used is not None


async def test_the_options_ask_for_a_person_and_tell_nothing_of_users(database: Database) -> None:
    user = await make_user(database)
    device = authenticator(user)
    await add(database, user, device)
    known = await PasskeyRepository(database).list_of(user.id)
    options = json.loads(registration_options(SITE, user, known, CHALLENGE))
    assert options["authenticatorSelection"]["userVerification"] == "required"
    assert options["authenticatorSelection"]["residentKey"] == "required"
    assert [each["id"] for each in options["excludeCredentials"]] == [known[0].id]
    assert (asked()["userVerification"], asked().get("allowCredentials")) == ("required", [])
    assert new_challenge() != new_challenge()


async def test_what_was_signed_for_something_else_is_refused(database: Database) -> None:
    user = await make_user(database)
    other = await make_user(database, "nina")
    device = authenticator(user)
    await add(database, user, device)
    passkeys = PasskeyRepository(database)
    answers = {
        "another challenge": device.sign(asked("x" * 43)),
        "another origin": replace(device, origin="https://evil.example").sign(asked()),
        "another port": replace(device, origin="https://gateway.example:444").sign(asked()),
        "another site": replace(device, site="evil.example").sign(asked()),
        "another user": replace(device, user=other.id.encode()).sign(asked()),
        "another key": replace(authenticator(user), id=device.id, counter=9).sign(asked()),
        "no person": replace(device, flags=PRESENT).sign(asked()),
        "an unknown passkey": authenticator(user).sign(asked()),
        "a registration": device.register(asked()),
        "no JSON": "x",
        "a list": "[]",
        "nested": "[" * 5000,
        "null": "null",
        "empty": "{}",
        "long": device.sign(asked()) + " " * 20_000,
    }
    taken = [what for what, answer in answers.items() if await is_taken(passkeys, answer)]
    assert taken == []
    assert await passkeys.verify(SITE, device.sign(asked()), CHALLENGE) == user.id


async def test_a_counter_that_runs_backwards_shows_a_copy(database: Database) -> None:
    user = await make_user(database)
    device = authenticator(user, counter=5)
    await add(database, user, device)
    passkeys = PasskeyRepository(database)
    copy = replace(device)
    assert await passkeys.verify(SITE, device.sign(asked()), CHALLENGE) == user.id
    with pytest.raises(PasskeyRefused):
        await passkeys.verify(SITE, copy.sign(asked()), CHALLENGE)


async def test_a_passkey_belongs_to_one_user(database: Database) -> None:
    user = await make_user(database)
    other = await make_user(database, "nina")
    device = authenticator(user)
    await add(database, user, device)
    with pytest.raises(PasskeyRefused):
        await add(database, other, device)
    passkeys = PasskeyRepository(database)
    [known] = await passkeys.list_of(user.id)
    assert not await passkeys.remove(other.id, known.id)
    assert await passkeys.remove(user.id, known.id)
    assert not await passkeys.remove(user.id, known.id)


async def test_registrations_are_checked_and_bounded(database: Database) -> None:
    user = await make_user(database)
    for wrong in (authenticator(user, origin="https://evil.example"), authenticator(user, flags=PRESENT)):
        with pytest.raises(PasskeyRefused):
            await add(database, user, wrong)
    passkeys = PasskeyRepository(database)
    for answer in ("", "{}", "[]", "null", "[" * 5000, "x" * 20_000):
        with pytest.raises(PasskeyRefused):
            await passkeys.add(SITE, user, "key", answer, CHALLENGE)
    for _ in range(MOST_PASSKEYS):
        await add(database, user, authenticator(user, counter=0))
    with pytest.raises(PasskeyRefused):
        await add(database, user, authenticator(user))


async def test_the_only_way_in_stays(database: Database) -> None:
    user = await make_user(database)
    await add(database, user, authenticator(user))
    await UserRepository(database).set_password(user.id, None)
    passkeys = PasskeyRepository(database)
    [known] = await passkeys.list_of(user.id)
    with pytest.raises(UserRefused) as refusal:
        await passkeys.remove(user.id, known.id)
    assert refusal.value.fault is UserFault.LAST_WAY_IN
    assert len(await passkeys.list_of(user.id)) == 1
