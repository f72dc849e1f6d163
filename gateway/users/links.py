"""Links that are used once: to set the dashboard up, to invite a user, to set a new password.

A link has 256 random bits; the database has only their SHA-256, so nobody who reads it can use a link.

| purpose | what it does | good for |
| --- | --- | --- |
| setup | makes the first user, an owner; void as soon as there is any user | SETUP_HOURS |
| invite | makes a user of the role that is written down with it | INVITE_HOURS |
| reset | gives the user whom it was made for a new password | RESET_HOURS |

To look at a link changes nothing. To use it deletes its row in the transaction that makes the user, so of two
who use it at once one wins.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import RowMapping, delete, func, insert, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.database.engine import Database
from gateway.database.tables import USER, USER_LINK
from gateway.database.types import now
from gateway.users.roles import Role

HOUR: Final = 3_600_000
SETUP_HOURS: Final = 24
"""Each start of `up` and `serve-web` prints a new one as long as it is needed."""
INVITE_HOURS: Final = 7 * 24
"""Whoever is invited may be away for some days."""
RESET_HOURS: Final = 24
SECRET_BYTES: Final = 32
LONGEST_SECRET: Final = 100
"""What is longer is none of our links, and is not hashed."""


class Purpose(StrEnum):
    """What a link is for."""

    SETUP = "setup"
    INVITE = "invite"
    RESET = "reset"


HOURS: Final = {Purpose.SETUP: SETUP_HOURS, Purpose.INVITE: INVITE_HOURS, Purpose.RESET: RESET_HOURS}


@dataclass(frozen=True)
class UserLink:
    """A link that is good now. hash: of its secret. user_id: whose password it sets. Times are ms."""

    hash: str
    purpose: Purpose
    role: Role
    user_id: str | None
    by: str
    created: int
    expires: int


def hash_of(secret: str) -> str:
    """The name of a link in the database."""
    return hashlib.sha256(secret.encode("utf-8", "replace")).hexdigest()


async def make_link(
    database: Database, purpose: Purpose, role: Role, by: str, user_id: str | None = None
) -> str:
    """Make a link. Returns its secret, which is shown this once. Raises DatabaseError.

    A reset link replaces the ones that the user had.
    """
    secret = secrets.token_urlsafe(SECRET_BYTES)
    moment = now()
    async with database.writing() as sql:
        expired = USER_LINK.c.expires <= moment
        await sql.execute(
            delete(USER_LINK).where(
                expired if user_id is None else expired | (USER_LINK.c.user_id == user_id)
            )
        )
        await sql.execute(
            insert(USER_LINK).values(
                hash=hash_of(secret),
                purpose=purpose.value,
                role=role.value,
                user_id=user_id,
                by=by,
                created=moment,
                expires=moment + HOURS[purpose] * HOUR,
            )
        )
    return secret


async def make_setup_link(database: Database) -> str | None:
    """Make a link to set the dashboard up; None where somebody has done it. Raises DatabaseError."""
    async with database.reading() as sql:
        if await has_users(sql):
            return None
    return await make_link(database, Purpose.SETUP, Role.OWNER, "cli")


async def find_link(database: Database, secret: str) -> UserLink | None:
    """The link of a secret, as long as it is good. Raises DatabaseError."""
    if len(secret) > LONGEST_SECRET:
        return None
    async with database.reading() as sql:
        found = await read_link(sql, secret)
        if found is not None and found.purpose is Purpose.SETUP and await has_users(sql):
            return None
        return found


async def list_invitations(database: Database) -> list[UserLink]:
    """The invitations that nobody has used yet, the newest first. Raises DatabaseError."""
    query = (
        select(USER_LINK)
        .where(USER_LINK.c.expires > now(), USER_LINK.c.purpose == Purpose.INVITE.value)
        .order_by(USER_LINK.c.created.desc())
    )
    async with database.reading() as sql:
        return [_read(row) for row in (await sql.execute(query)).mappings()]


async def withdraw_invitation(database: Database, identifier: str) -> bool:
    """Make an invitation void. identifier: the link's hash. Returns whether there was one."""
    async with database.writing() as sql:
        done = await sql.execute(
            delete(USER_LINK).where(
                USER_LINK.c.hash == identifier, USER_LINK.c.purpose == Purpose.INVITE.value
            )
        )
    return bool(done.rowcount)


async def read_link(sql: AsyncConnection, secret: str) -> UserLink | None:
    """The link of a secret in a transaction, whether or not it is still needed."""
    query = select(USER_LINK).where(USER_LINK.c.hash == hash_of(secret), USER_LINK.c.expires > now())
    row = (await sql.execute(query)).mappings().first()
    return None if row is None else _read(row)


async def use_link(sql: AsyncConnection, link: UserLink) -> bool:
    """Delete the row of a link. Returns whether it was still there: of two users of a link, one wins."""
    done = await sql.execute(delete(USER_LINK).where(USER_LINK.c.hash == link.hash))
    return bool(done.rowcount)


async def has_users(sql: AsyncConnection) -> bool:
    """Whether there is any user."""
    return bool(await sql.scalar(select(func.count()).select_from(USER)))


async def lock_users(sql: AsyncConnection) -> None:
    """Let no other transaction change users before the end of this one.

    Rules about all users (there is a first one, there is a last owner) hold only so. SQLite has one writer in
    any case.
    """
    if sql.dialect.name == "postgresql":
        await sql.execute(text('LOCK TABLE "user" IN SHARE ROW EXCLUSIVE MODE'))


def _read(row: RowMapping) -> UserLink:
    values: dict[str, Any] = {**row, "purpose": Purpose(row["purpose"]), "role": Role(row["role"])}
    return UserLink(**values)
