"""The commands for connections and mappings, and what `check` says of connections and the database's file."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from gateway.cli.checks import Level
from gateway.cli.checks.connections import check_connections
from gateway.cli.checks.database import check_file
from gateway.cli.secret_input import MAX_BYTES
from gateway.config.settings import Settings
from gateway.connections.sealing import KEY_FILE
from gateway.database.engine import Database
from gateway.database.tables import CONNECTION
from tests.support.connections import Shops
from tests.support.console import Gateway, report
from tests.support.databases import Databases, url_of
from tests.support.store_server import StoreServer

SECRET = "whsec_0123456789abcdef"
KEY = "rk_live_0123456789abcdef"


def secret_file(folder: Path, *lines: str) -> Path:
    path = folder / "secret.txt"
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.mark.slow
def test_a_connection_lives_its_life(gateway: Gateway, tmp_path: Path) -> None:
    file = secret_file(tmp_path, SECRET)
    made = gateway.run(
        "connection", "add", "stripe", "shop", "--secret-file", file, "--public-url", "https://dl.example"
    )
    assert "address     https://dl.example/hooks/" in made.stdout
    assert "docs/platforms/stripe.md" in made.stderr
    assert SECRET not in made.stdout + made.stderr
    [listed] = gateway.json("connection", "list")
    assert (listed["name"], listed["secrets"], listed["live"]) == ("shop", 1, True)

    secret_file(tmp_path, "whsec_another_one")
    changed = gateway.json(
        "connection", "change", "shop", "--add-secret-file", file, "--name", "My shop", "--test"
    )
    assert (changed["secrets"], changed["name"], changed["live"]) == (2, "My shop", False)
    key = tmp_path / "key"
    key.write_text(KEY)
    assert gateway.json("connection", "change", "My shop", "--api-key-file", key)["hasApiKey"]
    assert not gateway.json("connection", "change", "My shop", "--remove-api-key")["hasApiKey"]
    assert gateway.json("connection", "show", listed["id"])["secrets"] == 2
    shown = gateway.run("connection", "show", "My shop").stdout
    assert "nothing yet" in shown
    assert SECRET not in shown

    tested = gateway.json("connection", "test", "My shop")
    assert (tested["works"], tested["lastEvent"]) == (True, None)
    assert [each["check"] for each in tested["findings"]] == [
        "secrets",
        "events",
        "signatures",
        "inbox",
        "api key",
    ]
    assert gateway.json("connection", "events", "My shop") == []
    assert "no such event" in gateway.fault("connection", "replay", "My shop", "0" * 26).lower()
    assert "add --yes" in gateway.fault("connection", "remove", "My shop")
    gateway.run("connection", "remove", "My shop", "--yes")
    assert gateway.json("connection", "list") == []
    actions = [each["action"] for each in gateway.json("audit")]
    assert {"connection.create", "connection.update", "connection.delete"} <= set(actions)
    assert SECRET not in json.dumps(gateway.json("audit"))


@pytest.mark.slow
def test_a_connection_without_a_secret_does_not_work_yet(gateway: Gateway) -> None:
    made = gateway.run("connection", "add", "polar", "shop")
    assert "connection change" in made.stderr
    assert "public_url" in made.stderr
    assert "there is no signing secret" in gateway.run("connection", "test", "shop", code=1).stdout
    found = report(gateway, "--quick", code=1)
    assert found["connection shop"]["result"] == "warn"


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        (["show", "nothing"], "there is no such connection"),
        (["remove", "nothing", "-y"], "there is no such connection"),
        (["change", "nothing", "--name", "x"], "there is no such connection"),
        (["change", "nothing"], "nothing to change"),
        (["change", "x", "--secret-file", "a", "--add-secret-file", "b"], "exclude each other"),
        (["add", "stripe", "x", "--secret-file", "-", "--api-key-file", "-"], "only one secret"),
        (["add", "stripe", "x", "--secret-file", "nothing.txt"], "nothing.txt: "),
        (["add", "stripe", "x", "--secret-file", "empty.txt"], "empty.txt is empty"),
        (["add", "stripe", "x", "--secret-file", "large.txt"], "has more than"),
        (["add", "stripe", "x", "--secret-file", "binary.txt"], "is no text"),
        (["add", "stripe", "x", "--secret-file", "short.txt"], "--secret-file"),
        (["add", "stripe", "x", "--api-key-file", "two.txt"], "several lines"),
        (["add", "polar", "x", "--api-key-file", "key.txt"], "--api-key-file: is of no use"),
        (["add", "shopify", "x", "--api-key-file", "key.txt"], "--shop-url: Give the shop's address"),
        (["map", "x", "color=red", "drums"], "KEY must be price, product, variant"),
        (["map", "nothing", "sku=1", "drums"], "there is no such connection"),
        (["mappings", "nothing"], "there is no such connection"),
        (["mappings", "x", "--replace", "key.txt"], "key.txt: "),
    ],
)
def test_faults_are_one_line(gateway: Gateway, arguments: list[str], fault: str) -> None:
    for name, content in (
        ("empty.txt", b"\n \n"),
        ("large.txt", b"x" * (MAX_BYTES + 1)),
        ("binary.txt", b"\xff\xfe\0"),
        ("short.txt", b"x"),
        ("two.txt", b"a\nb\n"),
        ("key.txt", KEY.encode()),
    ):
        (gateway.folder / name).write_bytes(content)
    said = gateway.fault("connection", *arguments)
    assert fault in said
    assert KEY not in said


@pytest.mark.slow
def test_items_are_mapped_and_who_waited_gets_them(
    gateway: Gateway, store: StoreServer, tmp_path: Path
) -> None:
    (tmp_path / "a.bin").write_bytes(b"x")
    gateway.run("product", "add", "drums", "1.0", tmp_path / "a.bin")
    gateway.run("connection", "add", "shopify", "shop", "--secret-file", secret_file(tmp_path, SECRET))
    gateway.run("order", "add", "1", "--email", "jo@example.com", "--sku", "DR-1=2")
    [waiting] = gateway.json("unmapped")
    assert (waiting["key"], waiting["value"], waiting["customers"]) == ("sku", "DR-1", 1)
    assert "sku=DR-1" in gateway.run("unmapped").stdout
    assert "there is no product nothing" in gateway.fault("connection", "map", "shop", "sku=DR-1", "nothing")
    mapped = gateway.run("connection", "map", "shop", "sku=DR-1", "drums", "--until", "2030-01-01")
    assert "1 order looked at again" in mapped.stderr
    [given] = gateway.json("entitlement", "list", "--email", "jo@example.com")
    assert (given["scope"], given["quantity"]) == ("until", 2)
    assert gateway.json("unmapped") == []
    gateway.run("connection", "map", "shop", "metadata=kind=shirt")
    table = gateway.run("connection", "mappings", "shop").stdout
    assert "metadata=kind=shirt  nothing to download" in table
    known = gateway.json("connection", "mappings", "shop")
    (tmp_path / "all.json").write_text(json.dumps({"mappings": known[:1]}))
    assert gateway.json("connection", "mappings", "shop", "--replace", tmp_path / "all.json") == known[:1]
    gateway.run("connection", "unmap", "shop", f"{known[0]['key']}={known[0]['value']}")
    assert "is not mapped" in gateway.fault("connection", "unmap", "shop", "sku=DR-1")


async def test_check_looks_at_connections(databases: Databases, tmp_path: Path) -> None:
    location = await databases.make()
    settings = Settings(data=tmp_path, database_url=url_of(location), public_url="https://dl.example")

    async def look(how: Settings = settings) -> list[tuple[str, Level, str]]:
        found = await asyncio.to_thread(lambda: list(check_connections(how)))
        return [(each.subject, each.level, each.line) for each in found]

    assert await look() == [("connections", Level.OK, "there are none")]
    async with Database.of(location) as database:
        await Shops(database, tmp_path).connect("woocommerce")
        [(subject, level, line)] = await look()
        assert (subject, level) == ("connection woocommerce", Level.WARN)
        assert "none has come yet" in line
        plain = [
            line
            for _, _, line in await look(
                Settings.model_validate({**dict(settings), "public_url": "http://x.example"})
            )
        ]
        assert "without TLS" in plain[0]
        (tmp_path / KEY_FILE).chmod(0o644)
        assert "chmod 600" in (await look())[0][2]
        (tmp_path / KEY_FILE).write_bytes(b"1" * 32)
        (tmp_path / KEY_FILE).chmod(0o600)
        [(_, level, line)] = await look()
        assert (level, "stored with another key" in line) == (Level.FAIL, True)
        (tmp_path / KEY_FILE).unlink()
        [(_, level, line)] = await look()
        assert (level, "cannot be used" in line) == (Level.FAIL, True)
        async with database.writing() as sql:
            await sql.execute(CONNECTION.update().values(kind="ebay"))
        [(_, level, line)] = await look()
        assert (level, "ebay, is not known" in line) == (Level.FAIL, True)
    await databases.remove(location)


def test_check_looks_at_the_file_of_the_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "gateway.sqlite"
    path.write_bytes(b"x" * 100)
    path.chmod(0o640)
    found = {each.subject: each for each in check_file(path)}
    assert (found["database"].level, found["database"].remedy) == (Level.FAIL, f"chmod 600 {path}")
    path.chmod(0o600)
    assert "database" not in {each.subject for each in check_file(path)}
    for limit, level in (("FULL", Level.FAIL), ("NEARLY_FULL", Level.WARN)):
        with monkeypatch.context() as patched:
            patched.setattr(f"gateway.cli.checks.database.{limit}", 1 << 62)
            [room] = list(check_file(path))
            assert (room.subject, room.level) == ("database room", level)
