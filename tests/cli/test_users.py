"""`user list | invite | reset | remove`."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from gateway.config.settings import Settings
from gateway.users.roles import Role
from tests.support.console import Gateway
from tests.support.dashboard import open_database_of
from tests.support.users import make_user


def test_users_are_invited_listed_and_removed(gateway: Gateway) -> None:
    assert gateway.json("user", "list") == []
    first = gateway.json("user", "invite")
    assert first["purpose"] == "setup"
    assert first["url"].startswith("http://127.0.0.1:8083/dashboard/join?link=")
    printed = gateway.run("user", "invite", "--dashboard-url", "https://seller.example")
    assert printed.stdout.startswith("https://seller.example/dashboard/join?link=")
    assert "works once" in printed.stderr
    for command in ("reset", "remove"):
        more = ["--yes"] if command == "remove" else []
        assert "there is no such user" in gateway.fault("user", command, "nobody", *more)


@pytest.mark.slow
async def test_a_user_gets_a_new_password_and_is_removed(gateway: Gateway, tmp_path: Path) -> None:
    settings = Settings.model_validate(
        {"data": tmp_path, "database_url": gateway.variables["GATEWAY_DATABASE_URL"]}
    )
    async with open_database_of(settings) as database:
        await make_user(database)
        await make_user(database, "sven", Role.STAFF)
    invited = await asyncio.to_thread(gateway.json, "user", "invite", "--role", "staff")
    reset = await asyncio.to_thread(gateway.json, "user", "reset", "sven")
    assert (invited["purpose"], reset["purpose"]) == ("invite", "reset")
    refused = await asyncio.to_thread(gateway.fault, "user", "remove", "maria", "--yes")
    assert "there must be an owner" in refused
    await asyncio.to_thread(gateway.run, "user", "remove", "SVEN", "--yes")
    [left] = await asyncio.to_thread(gateway.json, "user", "list")
    assert (left["name"], left["role"], left["hasPassword"]) == ("maria", "owner", True)
    changes = await asyncio.to_thread(gateway.json, "audit")
    assert [each["action"] for each in changes] == ["user.remove", "user.reset_link", "user.invite"]
    assert {each["by"] for each in changes} == {"cli"}
