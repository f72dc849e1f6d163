"""The commands for outgoing webhooks, and what `check` says of them."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from gateway.cli.checks import Level
from gateway.cli.checks.webhooks import check_webhooks
from gateway.config.settings import Settings
from gateway.connections.sealing import KEY_FILE, SecretBox
from gateway.database.engine import Database
from gateway.webhooks.delivering import disable
from gateway.webhooks.endpoints import EndpointRepository
from gateway.webhooks.outbox.writing import announce
from tests.support.console import Gateway, report
from tests.support.databases import Databases, url_of
from tests.support.outbox import announcement

URL = "https://shop.example/hook"


@pytest.mark.slow
def test_a_webhook_lives_its_life(gateway: Gateway) -> None:
    made = gateway.run("webhook", "add", URL, "--name", "crm", "--type", "order.paid")
    assert "whsec_" in made.stdout
    assert "not shown again" in made.stderr
    [listed] = gateway.json("webhook", "list")
    assert (listed["url"], listed["types"], listed["enabled"]) == (URL, ["order.paid"], True)
    assert "whsec_" not in gateway.run("webhook", "show", "crm").stdout
    changed = gateway.json("webhook", "change", "crm", "--name", "shop", "--all-types")
    assert (changed["name"], changed["types"]) == ("shop", [])
    rotated = gateway.json("webhook", "rotate", "shop", "--overlap", "60")
    assert rotated["secret"].startswith("whsec_")
    assert rotated["secret"] not in made.stdout
    assert gateway.json("webhook", "show", listed["id"])["secrets"] == 2
    assert gateway.json("webhook", "deliveries", "shop") == []
    assert "no such delivery" in gateway.fault("webhook", "replay", "shop", "0" * 26)
    assert "switched off" in gateway.run("webhook", "disable", "shop").stdout
    found = report(gateway, "--quick")
    assert (found["webhook shop"]["result"], "switched off" in str(found["webhook shop"])) == ("warn", True)
    assert gateway.json("webhook", "enable", "shop")["enabled"]
    assert "add --yes" in gateway.fault("webhook", "remove", "shop")
    gateway.run("webhook", "remove", "shop", "--yes")
    assert gateway.json("webhook", "list") == []
    audit = gateway.json("audit")
    actions = {each["action"] for each in audit}
    assert {"webhook.create", "webhook.update", "webhook.rotate", "webhook.delete"} <= actions
    assert "whsec_" not in json.dumps(audit)


@pytest.mark.slow
def test_a_test_message_that_arrives_nowhere(gateway: Gateway) -> None:
    gateway.run("webhook", "add", "http://127.0.0.1:1/", "--name", "x", "--loopback-webhooks", "true")
    said = gateway.run("webhook", "test", "x", "--loopback-webhooks", "true", code=1)
    assert "the connection is refused" in said.stdout
    assert "must begin with https" in gateway.run("webhook", "test", "x", code=1).stdout


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        (["show", "nothing"], "there is no such webhook"),
        (["remove", "nothing", "-y"], "there is no such webhook"),
        (["rotate", "nothing"], "there is no such webhook"),
        (["enable", "nothing"], "there is no such webhook"),
        (["deliveries", "nothing"], "there is no such webhook"),
        (["change", "nothing"], "nothing to change"),
        (["change", "x", "--type", "order.paid", "--all-types"], "exclude each other"),
        (["add", "http://shop.example/"], "URL: must begin with https"),
        (["add", "https://192.168.1.1/"], "URL: must not lead"),
        (["add", "http://127.0.0.1:1/"], "URL: must begin with https"),
        (["add", "shop.example"], "URL: must"),
    ],
)
def test_faults_are_one_line(gateway: Gateway, arguments: list[str], fault: str) -> None:
    assert fault in gateway.fault("webhook", *arguments)


@pytest.mark.slow
def test_two_of_one_name_need_the_id(gateway: Gateway) -> None:
    made = [gateway.json("webhook", "add", URL, "--name", "crm") for _ in range(2)]
    assert "give the id" in gateway.fault("webhook", "show", "crm")
    assert gateway.json("webhook", "show", made[1]["id"])["id"] == made[1]["id"]


async def test_what_check_says(databases: Databases, tmp_path: Path) -> None:
    location = await databases.make()
    settings = Settings(data=tmp_path, database_url=url_of(location))

    async def look() -> list[tuple[Level, str]]:
        found = await asyncio.to_thread(lambda: list(check_webhooks(settings)))
        return [(each.level, each.line) for each in found]

    assert await look() == [(Level.OK, "there are none")]
    async with Database.of(location) as database:
        endpoints = EndpointRepository(database, SecretBox(tmp_path))
        await endpoints.create("http://127.0.0.1:1/", None, [])
        works = await endpoints.create(URL, "crm", [])
        gone = await endpoints.create(URL, "two words", [])
        async with database.writing() as sql:
            await announce(sql, [announcement()])
            await disable(sql, gone.id, "it answered 410")
        [first, second, third] = await look()
        assert (first[0], "must begin with https" in first[1]) == (Level.FAIL, True)
        assert second == (Level.OK, "it works, 1 wait")
        assert third[0] is Level.WARN
        assert third[1] == f"it is disabled: it answered 410: mend it, then: webhook enable {gone.id}"
        (tmp_path / KEY_FILE).write_bytes(bytes(32))
        assert all("another key" in line for _, line in await look())
        assert works.id
    await databases.remove(location)
