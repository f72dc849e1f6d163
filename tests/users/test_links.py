"""Links that are used once: looking burns nothing, and of two who use one at once one wins."""

from __future__ import annotations

import asyncio

import pytest
from sqlalchemy import select, update

from gateway.database.engine import Database
from gateway.database.tables import USER_LINK
from gateway.users.links import (
    HOURS,
    Purpose,
    find_link,
    hash_of,
    list_invitations,
    make_link,
    make_setup_link,
    withdraw_invitation,
)
from gateway.users.repository import UserFault, UserRefused, UserRepository
from gateway.users.roles import Role
from tests.support.users import HASH, make_user


async def void(database: Database, secret: str, name: str = "late") -> bool:
    """Whether a link makes nobody any more."""
    before = await UserRepository(database).list_all()
    with pytest.raises(UserRefused) as refusal:
        await UserRepository(database).use_link(secret, name, HASH)
    assert refusal.value.fault is UserFault.LINK_VOID
    assert await UserRepository(database).list_all() == before
    return await find_link(database, secret) is None


async def test_the_database_has_no_secret_of_a_link(database: Database) -> None:
    secret = await make_setup_link(database)
    assert secret is not None
    async with database.reading() as sql:
        row = (await sql.execute(select(USER_LINK))).one()
    assert row.hash == hash_of(secret)
    assert secret not in str(row)
    assert row.expires - row.created == HOURS[Purpose.SETUP] * 3_600_000


async def test_looking_at_a_link_burns_nothing_and_using_it_does(database: Database) -> None:
    secret = await make_setup_link(database)
    assert secret is not None
    for _ in range(3):
        assert await find_link(database, secret) is not None
    owner = await UserRepository(database).use_link(secret, "maria", HASH)
    assert owner.is_owner
    assert await void(database, secret)


async def test_of_two_who_use_a_link_at_once_one_wins(database: Database) -> None:
    secret = await make_setup_link(database)
    assert secret is not None
    users = UserRepository(database)
    done = await asyncio.gather(
        *(users.use_link(secret, f"user {number}", HASH) for number in range(5)), return_exceptions=True
    )
    assert len([each for each in done if isinstance(each, UserRefused)]) == 4
    assert len(await users.list_all()) == 1


async def test_of_two_set_up_links_that_are_used_at_once_one_wins(database: Database) -> None:
    """Each start prints a link of its own, and several machines may have started."""
    secrets = [await make_setup_link(database) for _ in range(3)]
    users = UserRepository(database)
    done = await asyncio.gather(
        *(users.use_link(secret or "", secret or "", HASH) for secret in secrets), return_exceptions=True
    )
    assert len([each for each in done if isinstance(each, UserRefused)]) == 2
    assert len(await users.list_all()) == 1
    for secret in secrets:
        assert await void(database, secret or "")
    assert await make_setup_link(database) is None


async def test_an_invitation_has_its_role_and_can_be_withdrawn(database: Database) -> None:
    await make_user(database)
    secret = await make_link(database, Purpose.INVITE, Role.STAFF, "maria")
    other = await make_link(database, Purpose.INVITE, Role.OWNER, "maria")
    found = await list_invitations(database)
    assert {(each.role, each.by) for each in found} == {(Role.STAFF, "maria"), (Role.OWNER, "maria")}
    assert await withdraw_invitation(database, hash_of(other))
    assert not await withdraw_invitation(database, hash_of(other))
    assert await void(database, other)
    assert (await UserRepository(database).use_link(secret, "sven", HASH)).role is Role.STAFF
    assert await void(database, secret)


async def test_a_name_that_is_taken_leaves_the_link_as_it_was(database: Database) -> None:
    await make_user(database)
    secret = await make_link(database, Purpose.INVITE, Role.STAFF, "maria")
    with pytest.raises(UserRefused):
        await UserRepository(database).use_link(secret, "Maria", HASH)
    assert (await UserRepository(database).use_link(secret, "sven", HASH)).name == "sven"


async def test_a_reset_link_sets_the_password_of_its_user_and_the_newest_counts(database: Database) -> None:
    await make_user(database)
    user = await make_user(database, "sven", Role.STAFF)
    old = await make_link(database, Purpose.RESET, Role.STAFF, "maria", user.id)
    new = await make_link(database, Purpose.RESET, Role.STAFF, "maria", user.id)
    assert await void(database, old)
    changed = await UserRepository(database).use_link(new, "ignored", "another hash")
    assert (changed.id, changed.name, changed.role, changed.password) == (
        user.id,
        "sven",
        Role.STAFF,
        "another hash",
    )
    assert await void(database, new)


async def test_a_link_is_void_after_its_time(database: Database) -> None:
    secret = await make_setup_link(database)
    async with database.writing() as sql:
        await sql.execute(update(USER_LINK).values(expires=1))
    assert await void(database, secret or "")
    assert await void(database, "x" * 1000)
    assert await void(database, "\udc80")
