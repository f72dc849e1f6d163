"""Users in the database: there is always an owner, names are taken once, removals take everything along."""

from __future__ import annotations

import asyncio

import pytest
from sqlalchemy import func, insert, select

from gateway.database.engine import Database
from gateway.database.tables import PASSKEY, USER, USER_LINK
from gateway.database.types import now
from gateway.users.links import Purpose, make_link
from gateway.users.repository import UserFault, UserRefused, UserRepository
from gateway.users.roles import Role
from tests.support.users import HASH, make_user


async def test_users_are_found_by_what_they_type(database: Database) -> None:
    users = UserRepository(database)
    assert await users.is_empty()
    made = await make_user(database, "  Maria  Schmidt ")
    assert not await users.is_empty()
    assert (made.name, made.role, made.seen) == ("Maria Schmidt", Role.OWNER, None)
    assert await users.find("maria schmidt") == made
    assert await users.get(made.id) == made
    assert await users.find("maria") is None
    assert HASH not in repr(made)
    await users.note_seen(made.id)
    assert (await users.list_all())[0].seen is not None


async def test_a_name_is_taken_once(database: Database) -> None:
    await make_user(database, "maria")
    with pytest.raises(UserRefused) as refusal:
        await make_user(database, "MARIA")
    assert refusal.value.fault is UserFault.NAME_TAKEN
    with pytest.raises(UserRefused) as refusal:
        await make_user(database, "cli")
    assert refusal.value.fault is UserFault.NAME_INVALID


async def test_the_last_owner_stays_one(database: Database) -> None:
    users = UserRepository(database)
    owner = await make_user(database)
    staff = await make_user(database, "sven", Role.STAFF)
    for change in (users.remove(owner.id), users.set_role(owner.id, Role.STAFF)):
        with pytest.raises(UserRefused) as refusal:
            await change
        assert refusal.value.fault is UserFault.LAST_OWNER
    await users.set_role(staff.id, Role.OWNER)
    await users.set_role(owner.id, Role.STAFF)
    assert [user.role for user in await users.list_all()] == [Role.STAFF, Role.OWNER]
    for change in (users.remove("x" * 26), users.set_role("x" * 26, Role.OWNER)):
        with pytest.raises(UserRefused) as refusal:
            await change
        assert refusal.value.fault is UserFault.UNKNOWN


async def test_two_owners_who_demote_each_other_at_once_leave_one(database: Database) -> None:
    users = UserRepository(database)
    first = await make_user(database)
    second = await make_user(database, "nina", Role.OWNER)
    done = await asyncio.gather(
        users.set_role(first.id, Role.STAFF), users.remove(second.id), return_exceptions=True
    )
    assert len([each for each in done if isinstance(each, UserRefused)]) == 1
    assert len([user for user in await users.list_all() if user.is_owner]) == 1


async def test_with_a_user_go_passkeys_and_links(database: Database) -> None:
    users = UserRepository(database)
    await make_user(database)
    user = await make_user(database, "sven", Role.STAFF)
    await make_link(database, Purpose.RESET, Role.STAFF, "maria", user.id)
    async with database.writing() as sql:
        row = {
            "id": "k",
            "user_id": user.id,
            "name": "",
            "public_key": b"",
            "sign_count": 0,
            "created": now(),
        }
        await sql.execute(insert(PASSKEY).values(row))
    assert (await users.list_all())[1].passkeys == 1
    assert (await users.remove(user.id)).name == "sven"
    async with database.reading() as sql:
        for table in (PASSKEY, USER_LINK):
            assert await sql.scalar(select(func.count()).select_from(table)) == 0
        assert await sql.scalar(select(func.count()).select_from(USER)) == 1


async def test_a_newer_hash_replaces_only_the_one_that_was_checked(database: Database) -> None:
    users = UserRepository(database)
    user = await make_user(database)
    await users.set_password(user.id, "other")
    await users.renew_hash(user, "newer")
    found = await users.get(user.id)
    assert found is not None
    assert found.password == "other"
    await users.renew_hash(found, "newer")
    assert (await users.list_all())[0].password == "newer"
