"""Users for tests."""

from __future__ import annotations

from typing import Final

from argon2 import PasswordHasher

from gateway.database.engine import Database
from gateway.users.links import Purpose, make_link, make_setup_link
from gateway.users.repository import User, UserRepository
from gateway.users.roles import Role

QUICK: Final = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
"""Hashes that cost nothing."""
PASSWORD: Final = "violet-harbour-94-tin"
HASH: Final = QUICK.hash(PASSWORD)


async def make_user(database: Database, name: str = "maria", role: Role = Role.OWNER) -> User:
    """Make a user with PASSWORD; the first one by the set-up link."""
    secret = await make_setup_link(database)
    if secret is None:
        secret = await make_link(database, Purpose.INVITE, role, "maria")
    return await UserRepository(database).use_link(secret, name, HASH)
