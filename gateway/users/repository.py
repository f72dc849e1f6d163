"""Users in the database: who they are, their roles and passwords. passkeys.py and links.py have the rest.

There is always an owner, once there is any user: whoever would be the last one to stop being it is refused.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import delete, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.database.engine import Database
from gateway.database.errors import Duplicate
from gateway.database.tables import PASSKEY, USER
from gateway.database.types import new_id, now
from gateway.errors import GatewayError
from gateway.users.links import Purpose, has_users, lock_users, read_link, use_link
from gateway.users.roles import Role, clean_name, is_user_name, login_of


class UserFault(StrEnum):
    """Why a change of users is refused."""

    LINK_VOID = "link_void"
    NAME_TAKEN = "name_taken"
    NAME_INVALID = "name_invalid"
    LAST_OWNER = "last_owner"
    UNKNOWN = "unknown"
    LAST_WAY_IN = "last_way_in"


_TEXTS: Final = {
    UserFault.LINK_VOID: "the link was used already, is too old, or was withdrawn: ask for a new one",
    UserFault.NAME_TAKEN: "another user has this name: choose another one",
    UserFault.NAME_INVALID: "choose a name of 1 to 80 printable characters, and not `cli` or the id of a key",
    UserFault.LAST_OWNER: "there must be an owner: make another user an owner first",
    UserFault.UNKNOWN: "there is no such user",
    UserFault.LAST_WAY_IN: "it is the only way to sign in: set a password first",
}


class UserRefused(GatewayError):
    """A change of users that is against a rule."""

    def __init__(self, fault: UserFault) -> None:
        super().__init__(_TEXTS[fault])
        self.fault = fault


@dataclass(frozen=True)
class User:
    """A user. passkeys: how many. seen: signed in last. Times are ms."""

    id: str
    name: str
    role: Role
    created: int
    password: str | None = field(default=None, repr=False)
    password_changed: int | None = None
    seen: int | None = None
    passkeys: int = 0

    @property
    def is_owner(self) -> bool:
        """Whether the user may do everything."""
        return self.role is Role.OWNER


class UserRepository:
    """The users of a database. Every method raises DatabaseError."""

    def __init__(self, database: Database) -> None:
        self.database: Final = database

    async def is_empty(self) -> bool:
        """Whether nobody has set the dashboard up yet."""
        async with self.database.reading() as sql:
            return not await has_users(sql)

    async def list_all(self) -> list[User]:
        """Every user, in the order in which they came."""
        async with self.database.reading() as sql:
            return [_user(row) for row in await sql.execute(_USERS.order_by(USER.c.id))]

    async def get(self, identifier: str) -> User | None:
        """A user by the id."""
        return await self._find(USER.c.id == identifier)

    async def find(self, name: str) -> User | None:
        """A user by the name that is typed at sign-in."""
        return await self._find(USER.c.login == login_of(name))

    async def use_link(self, secret: str, name: str, password: str) -> User:
        """Make the user that a link is for, or set the password of its user. password: the hash.

        name: ignored where the user exists. Raises UserRefused: link_void, name_taken, name_invalid.
        """
        try:
            async with self.database.writing() as sql:
                await lock_users(sql)
                link = await read_link(sql, secret)
                if link is None or not await use_link(sql, link):
                    raise UserRefused(UserFault.LINK_VOID)
                if link.purpose is Purpose.RESET and link.user_id is not None:
                    await _set_password(sql, link.user_id, password)
                    identifier = link.user_id
                else:
                    if link.purpose is Purpose.SETUP and await has_users(sql):
                        raise UserRefused(UserFault.LINK_VOID)
                    identifier = await _insert(sql, name, link.role, password)
                row = (await sql.execute(_USERS.where(USER.c.id == identifier))).first()
        except Duplicate:
            raise UserRefused(UserFault.NAME_TAKEN) from None
        assert row is not None, "it was written in this transaction"
        return _user(row)

    async def set_password(self, identifier: str, password: str | None) -> None:
        """Give a user another password. password: its hash; None: none. Raises UserRefused: unknown."""
        async with self.database.writing() as sql:
            await _set_password(sql, identifier, password)

    async def renew_hash(self, user: User, password: str) -> None:
        """Keep the same password with a newer kind of hash, unless it was changed meanwhile."""
        async with self.database.writing() as sql:
            await sql.execute(
                update(USER)
                .where(USER.c.id == user.id, USER.c.password == user.password)
                .values(password=password)
            )

    async def note_seen(self, identifier: str) -> None:
        """Write down that a user has signed in."""
        async with self.database.writing() as sql:
            await sql.execute(update(USER).where(USER.c.id == identifier).values(seen=now()))

    async def set_role(self, identifier: str, role: Role) -> None:
        """Change what a user may do. Raises UserRefused: unknown, last_owner."""
        async with self.database.writing() as sql:
            await lock_users(sql)
            await _keep_an_owner(sql, identifier, stays=role is Role.OWNER)
            await sql.execute(update(USER).where(USER.c.id == identifier).values(role=role.value))

    async def remove(self, identifier: str) -> User:
        """Remove a user with passkeys and links. Raises UserRefused: unknown, last_owner."""
        async with self.database.writing() as sql:
            await lock_users(sql)
            user = await _keep_an_owner(sql, identifier, stays=False)
            await sql.execute(delete(USER).where(USER.c.id == identifier))
        return user

    async def _find(self, condition: Any) -> User | None:
        async with self.database.reading() as sql:
            row = (await sql.execute(_USERS.where(condition))).first()
        return None if row is None else _user(row)


_PASSKEYS: Final = (
    select(func.count()).where(PASSKEY.c.user_id == USER.c.id).correlate(USER).scalar_subquery()
)
_USERS: Final = select(
    USER.c.id,
    USER.c.name,
    USER.c.role,
    USER.c.created,
    USER.c.password,
    USER.c.password_changed,
    USER.c.seen,
    _PASSKEYS.label("passkeys"),
)


def _user(row: Any) -> User:
    return User(**{**row._mapping, "role": Role(row.role)})


async def _insert(sql: AsyncConnection, name: str, role: Role, password: str) -> str:
    shown = clean_name(name)
    if not is_user_name(shown):
        raise UserRefused(UserFault.NAME_INVALID)
    identifier, moment = new_id(), now()
    await sql.execute(
        USER.insert().values(
            id=identifier,
            login=login_of(shown),
            name=shown,
            role=role.value,
            password=password,
            created=moment,
            password_changed=moment,
        )
    )
    return identifier


async def _set_password(sql: AsyncConnection, identifier: str, password: str | None) -> None:
    done = await sql.execute(
        update(USER).where(USER.c.id == identifier).values(password=password, password_changed=now())
    )
    if not done.rowcount:
        raise UserRefused(UserFault.UNKNOWN)


async def _keep_an_owner(sql: AsyncConnection, identifier: str, *, stays: bool) -> User:
    """The user, if the change leaves an owner. stays: whether this user is one afterwards."""
    row = (await sql.execute(_USERS.where(USER.c.id == identifier))).first()
    if row is None:
        raise UserRefused(UserFault.UNKNOWN)
    others = select(func.count()).where(USER.c.role == Role.OWNER.value, USER.c.id != identifier)
    if not stays and row.role == Role.OWNER.value and not await sql.scalar(others):
        raise UserRefused(UserFault.LAST_OWNER)
    return _user(row)
