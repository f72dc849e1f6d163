"""A dashboard, and people at it. Hashes of passwords cost nothing here."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from argon2 import PasswordHasher

from gateway.config.settings import Settings
from gateway.users import hashing
from gateway.users.roles import Role
from tests.support.control_plane import Api
from tests.support.dashboard import Visitor, join, open_visitor
from tests.support.users import QUICK


@pytest.fixture(autouse=True)
def quick_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hashing, "PasswordHasher", lambda: QUICK)
    monkeypatch.setattr(hashing, "NOBODYS", QUICK.hash("nobody's"))
    assert isinstance(QUICK, PasswordHasher)


@pytest.fixture
async def stranger(api: Api) -> AsyncIterator[Visitor]:
    """Somebody who is not signed in."""
    async with open_visitor(api.url) as visitor:
        yield visitor


@pytest.fixture
async def owner(api: Api, settings: Settings) -> AsyncIterator[Visitor]:
    """The owner maria, signed in."""
    async with open_visitor(api.url) as visitor:
        await join(visitor, settings)
        yield visitor


@pytest.fixture
async def staff(api: Api, settings: Settings, owner: Visitor) -> AsyncIterator[Visitor]:
    """Sven of the staff, signed in."""
    async with open_visitor(api.url) as visitor:
        await join(visitor, settings, "sven", Role.STAFF)
        yield visitor
