"""The commands for orders, customers, entitlements and mappings, as a person and a script use them."""

from __future__ import annotations

import asyncio
import re
import stat
from pathlib import Path
from typing import Any

import pytest

from gateway.catalogue.catalogue import Catalogue
from gateway.config.database_url import locate_database
from gateway.database.engine import Database
from gateway.database.types import now
from gateway.orders.entitlements import add_link
from gateway.tokens.repositories import Repositories
from tests.support.console import Gateway
from tests.support.control_plane import manifest
from tests.support.store_server import StoreServer


def with_products(gateway: Gateway, store: StoreServer) -> None:
    """Register the products drums (1.0 and 2.0) and bass, without files to read."""

    async def register() -> None:
        location = locate_database(gateway.variables["GATEWAY_DATABASE_URL"], gateway.folder)
        async with Repositories.connect(store.url, 10) as link, Database.of(location) as database:
            catalogue = Catalogue(database, link)
            for product, version in (("drums", "1.0"), ("drums", "2.0"), ("bass", "1.0")):
                await catalogue.register(manifest(product, version))

    asyncio.run(register())


@pytest.mark.slow
def test_an_order_is_told_listed_and_shown(gateway: Gateway, store: StoreServer) -> None:
    with_products(gateway, store)
    told = gateway.json(
        "order", "add", "1001", "--email", "jo@example.com", "--name", "Jo", "--number", "#1",
        "--country", "de", "--placed-at", "2026-01-31", "--product", "drums=3", "--sku", "DR-1",
        "--sku", "DR-1=2",
    )  # fmt: skip
    assert (told["source"], told["orderId"], told["number"], told["country"]) == ("shop", "1001", "#1", "DE")
    assert told["placedAt"] == "2026-01-31T00:00:00.000Z"
    lines = [(line["id"], line["quantity"], line["waits"]) for line in told["lines"]]
    assert lines == [("drums#1", 3, False), ("DR-1#1", 1, True), ("DR-1#2", 2, True)]
    assert gateway.json("order", "show", "#1") == told, "by its number, too"
    assert gateway.json("order", "list", "--email", "jo@EXAMPLE.com", "--status", "paid") == [told]
    assert gateway.json("order", "list", "--from", "2026-02-01") == []
    table = gateway.run("order", "list").stdout
    assert "drums × 3, DR-1 × 1 (unmapped)" in table
    shown = gateway.run("order", "show", "1001")
    assert "waits for a mapping" in shown.stdout
    assert "2 items nobody has mapped yet" in shown.stderr

    gateway.run(
        "order", "add", "1001", "--email", "ann@example.com", "--product", "bass", "--source", "other"
    )
    assert "several orders are called 1001: other 1001, shop 1001" in gateway.fault("order", "show", "1001")
    assert (
        gateway.json("order", "show", "1001", "--source", "other")["customer"]["email"] == "ann@example.com"
    )
    assert "order `1001" not in gateway.fault("order", "show", "7")
    assert {each["action"] for each in gateway.json("audit")} >= {"order.put"}


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        (["order", "add", "1", "--email", "jo", "--product", "drums"], "--email: must have the form"),
        (["order", "add", "1", "--email", "jo@example.com"], "what was bought?"),
        (["order", "add", "1", "--email", "jo@example.com", "--product", "what"], "there is no product what"),
        (["order", "add", "1", "--email", "j@x.de", "--sku", "a", "--country", "Germany"], "--country: must"),
        (
            ["order", "add", "1", "--email", "j@x.de", "--sku", "a", "--placed-at", "1/2/3"],
            "--placed-at: must be",
        ),
        (
            ["order", "add", "1", "--email", "j@x.de", "--sku", "a", "--source", "My shop"],
            "--source: must be 1 to",
        ),
        (["order", "list", "--email", "x"], "--email: the address must have the form"),
        (["order", "show", "7"], "there is no order 7"),
        (["customer", "show", "jo@example.com"], "there is no such customer"),
        (["customer", "show", "0" * 26], "there is no such customer"),
        (["customer", "erase", "jo", "-y"], "EMAIL: the address must have"),
        (["entitlement", "add", "jo@example.com", "what", "--reason", "x"], "there is no such product"),
        (["entitlement", "override", "0" * 26, "revoke"], "there is no such entitlement"),
        (["entitlement", "show", "0" * 26], "there is no such entitlement"),
        (["entitlement", "link", "0" * 26], "there is no such entitlement"),
        (["entitlement", "link", "0" * 26, "--expires-in", "0"], "--expires-in: must be at least 1 second"),
        (["order", "import", "nothing.csv"], "nothing.csv: "),
        (["order", "import", "."], ". is a folder"),
        (["order", "import", "x.csv", "--source", "A"], "--source: must be"),
        (["order", "import", "x.csv", "--column", "mail=x"], "--column: must be OURS=THEIRS"),
        (["order", "import", "x.csv", "--product", "what"], "--product: there is no product what"),
    ],
)
def test_faults_are_one_line(gateway: Gateway, arguments: list[str], fault: str) -> None:
    said = gateway.fault(*arguments)
    assert fault in said
    assert "jo@" not in said, "no address is quoted"


@pytest.mark.slow
def test_what_a_customer_has_is_shown_overridden_exported_moved_and_erased(
    gateway: Gateway, store: StoreServer
) -> None:
    with_products(gateway, store)
    gateway.run("order", "add", "1", "--email", "jo@example.com", "--name", "Jo", "--product", "drums")
    given = gateway.json(
        "entitlement", "add", "jo@example.com", "bass", "--reason", "a gift", "--until", "2027-01-01"
    )
    assert (given["scope"], given["updatesUntil"]) == ("until", "2027-01-01T00:00:00.000Z")
    shown = gateway.json("customer", "show", "jo@example.com")
    assert [each["orderId"] for each in shown["orders"]] == ["1"]
    assert len(shown["entitlements"]) == 2
    assert gateway.json("customer", "list", "--email", "jo@example.com")[0]["id"] == shown["id"]
    people = gateway.run("customer", "show", shown["id"]).stdout
    assert "until 2027-01-01" in people
    assert "by hand" in people

    drums = next(each for each in shown["entitlements"] if each["productId"] == "drums")
    assert gateway.json("entitlement", "show", drums["id"]) == drums
    made = gateway.json("entitlement", "link", drums["id"], "--max-downloads", "2", "--expires-in", "2d")
    assert (made["productId"], "/download" in made["downloadUrl"]) == ("drums", True)
    printed = gateway.run("entitlement", "link", drums["id"]).stdout
    assert re.search(r"^https?://\S+/download[/?]\S*ct_", printed)
    assert "does not open such a version" in gateway.fault("entitlement", "link", drums["id"], "9.9")
    revoked = gateway.json("entitlement", "override", drums["id"], "revoke", "--reason", "abuse")
    assert (revoked["status"], revoked["reasons"], revoked["reason"]) == (
        "revoked",
        ["seller_revoked"],
        "abuse",
    )
    assert "is suspended or revoked" in gateway.fault("entitlement", "link", drums["id"])
    assert gateway.json("entitlement", "list", "--status", "revoked", "--product", "drums") == [revoked]
    assert gateway.json("entitlement", "override", drums["id"], "none")["status"] == "active"

    gateway.run("order", "add", "2", "--email", "old@example.com", "--product", "bass")
    assert "add --yes" in gateway.fault("customer", "move", "old@example.com", "jo@example.com")
    gateway.run("customer", "move", "old@example.com", "jo@example.com", "--yes")
    exported = gateway.run("customer", "export", "jo@example.com", "--output", "jo.json")
    assert stat.S_IMODE((gateway.folder / "jo.json").stat().st_mode) == 0o600
    assert "everything that is known" in exported.stderr
    assert len(gateway.json("customer", "export", "jo@example.com")["orders"]) == 2
    assert "jo.json" in gateway.fault("customer", "export", "jo@example.com", "--output", "jo.json")

    assert "add --yes" in gateway.fault("customer", "erase", "jo@example.com")
    gateway.run("customer", "erase", "jo@example.com", "--yes")
    assert "no such customer" in gateway.fault("customer", "show", "jo@example.com")
    assert gateway.json("order", "show", "1")["customer"]["email"] is None
    assert "(erased)" in gateway.run("customer", "list").stdout


@pytest.mark.slow
def test_a_revoked_entitlement_ends_its_links_without_a_web_process(
    gateway: Gateway, store: StoreServer
) -> None:
    with_products(gateway, store)
    given = gateway.json("entitlement", "add", "jo@example.com", "drums", "--reason", "a gift")

    async def mint(act: Any) -> Any:
        location = locate_database(gateway.variables["GATEWAY_DATABASE_URL"], gateway.folder)
        async with Repositories.connect(store.url, 10) as link, Database.of(location) as database:
            return await act(link, database)

    async def add(link: Repositories, database: Database) -> str:
        minted = await link.tokens.create("drums")
        async with database.writing() as sql:
            assert await add_link(sql, given["id"], minted.record.id, "1.0", now() + 10**9, now())
        return minted.record.id

    async def is_revoked(link: Repositories, _database: Database) -> bool:
        record = await link.tokens.get(token)
        return record is not None and record.revoked is not None

    token = asyncio.run(mint(add))
    gateway.run("entitlement", "override", given["id"], "revoke")
    assert asyncio.run(mint(is_revoked))


@pytest.mark.slow
def test_past_customers_are_imported(gateway: Gateway, store: StoreServer, tmp_path: Path) -> None:
    with_products(gateway, store)
    file = tmp_path / "past.csv"
    rows = ["Email;productId;Menge;orderId;Notiz", "jo@example.com;drums;2;1;x", "ann@example.com;bass;;2;"]
    file.write_text("\n".join([*rows, "jo@example.com;drums;2;1;x"]) + "\n")
    found = gateway.json("order", "import", file, "--dry-run", "--column", "quantity=Menge")
    assert (found["dryRun"], found["orders"], found["faults"], found["imported"]) == (True, 2, [], None)
    assert (found["repeated"], found["ignoredColumns"]) == ([{"line": 4, "sameAs": 2}], ["Notiz"])
    assert gateway.json("order", "list") == []
    done = gateway.run("order", "import", file, "--column", "quantity=Menge")
    assert "2 orders, 0 faults: 2 new, 0 changed, 0 as they were." in done.stderr
    assert "Line 4 is the same as line 2" in done.stderr
    assert "Columns that are left out: Notiz." in done.stderr
    assert gateway.json("order", "import", file, "--column", "quantity=Menge")["imported"]["same"] == 2
    assert gateway.json("order", "show", "1")["lines"][0]["quantity"] == 2

    file.write_text(file.read_text() + "x;drums;0;3;\nbob@example.com;drums;1;4;\n")
    wrong = gateway.run("order", "import", file, "--column", "quantity=Menge", code=1)
    assert wrong.stdout.splitlines() == [
        "line 5, column 1 (email): the address must have the form name@example.com",
        "line 5, column 3 (quantity): must be 1 to 1000000",
    ]
    assert "Nothing was imported" in wrong.stderr
    assert len(gateway.json("order", "list")) == 2
    rest = gateway.json("order", "import", file, "--column", "quantity=Menge", "--skip-faulty")
    assert (rest["imported"]["new"], rest["faultCount"]) == (1, 2)
    assert rest["faults"][1] == {"line": 5, "column": 3, "name": "quantity", "text": "must be 1 to 1000000"}

    file.write_text("Customer Email\nzoe@example.com\n")
    assert gateway.json("order", "import", file, "--product", "bass")["imported"]["new"] == 1
    file.write_bytes("email,productId\n".encode("utf-16"))
    assert "UTF-16" in gateway.fault("order", "import", file)


@pytest.mark.slow
def test_an_import_of_refunds_ends_links(gateway: Gateway, store: StoreServer, tmp_path: Path) -> None:
    with_products(gateway, store)
    file = tmp_path / "past.csv"
    file.write_text("email,productId,orderId,status\njo@example.com,drums,1,paid\n")
    gateway.run("order", "import", file)
    file.write_text("email,productId,orderId,status\njo@example.com,drums,1,refunded\n")
    assert gateway.json("order", "import", file)["imported"]["changed"] == 1
    [found] = gateway.json("entitlement", "list")
    assert (found["status"], found["reasons"]) == ("revoked", ["order_refunded"])
