"""Erasing a customer: the person is in no byte of database, store and files, and nothing brings them back."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import asyncpg
import pytest
from sqlalchemy import select

from gateway.config.settings import Settings
from gateway.database.engine import Database
from gateway.database.tables import INBOX, METADATA, STATE
from gateway.database.usage_tables import DOWNLOAD, TOKEN
from gateway.secrets import token_id
from gateway.store.key_names import events_key
from gateway.store.scripts import ADD_EVENTS
from gateway.web.service import serve
from tests.support.control_plane import PUBLIC_URL, make_settings, read_store, run_api
from tests.support.databases import Databases, url_of
from tests.support.postgres import PostgresServer
from tests.support.sales import Sales
from tests.support.store_server import StoreServer
from tests.support.usage import batch
from tests.support.usage import event as usage_event
from tests.support.webhooks import SECRETS, changed, fixture, signature

ADDRESS = "Anneliese77@München-Erase.example"
NORMAL = "Anneliese77@xn--mnchen-erase-dlb.example"
NAME = "Jürgen Anne Wunderbär"
MARKS = (b"anneliese77", b"wunderb", b"192.0.2.77", b"cus_annel")
"""What is in every spelling of the person, in lower case."""
OTHER = "joanneliese@example.com"


@dataclass
class Place:
    """The service, and everything that may hold bytes of a person."""

    sales: Sales
    settings: Settings
    store: StoreServer
    postgres: PostgresServer | None

    async def send(self, shop: dict[str, Any], body: Any, **headers: str) -> None:
        """Deliver a signed webhook."""
        content = json.dumps(body).encode()
        signed = signature(shop["kind"], content, SECRETS[shop["kind"]], int(time.time()))
        url = self.sales.api.url + shop["url"].removeprefix(PUBLIC_URL)
        async with self.sales.api.session.post(url, data=content, headers=signed | headers) as response:
            assert response.status == 200

    async def settled(self) -> None:
        """Wait until no event is due, and nothing is to be cleaned."""
        async with asyncio.timeout(60):
            while True:
                async with self.sales.database.reading() as sql:
                    due = (await sql.execute(select(INBOX.c.id).where(INBOX.c.due.is_not(None)))).first()
                    dirty = await sql.execute(select(STATE.c.name).where(STATE.c.name == "cleaning"))
                    if due is None and dirty.first() is None:
                        return
                await asyncio.sleep(0.05)

    async def found(self) -> set[str]:
        """Where the person is."""
        assert self.settings.redis_url is not None
        files = [*self.settings.data.rglob("*"), *self.store.folder.rglob("*.aof")]
        location = self.sales.database.location
        if location.path is not None:
            files += [
                path for path in location.path.parent.iterdir() if path.name.startswith(location.path.name)
            ]
        elif self.postgres is not None:
            files += await self._files_of_postgres()
        places = {str(path): path.read_bytes() for path in files if path.is_file()}
        places["redis"] = (await read_store(self.settings.redis_url)).encode("utf-8", "surrogateescape")
        async with self.sales.database.reading() as sql:
            rows = [(await sql.execute(select(table))).all() for table in METADATA.sorted_tables]
        places["rows"] = str(rows).encode()
        return {place for place, content in places.items() if any(mark in content.lower() for mark in MARKS)}

    async def _files_of_postgres(self) -> list[Path]:
        assert self.postgres is not None
        connection = await asyncpg.connect(self.sales.database.location.dsn)
        try:
            await connection.execute("CHECKPOINT")
            folder = await connection.fetchval("SELECT pg_relation_filepath('pg_class')")
        finally:
            await connection.close()
        return list((self.postgres.folder / "data" / folder).parent.iterdir())


@pytest.fixture
def logged_store(tmp_path: Path) -> Iterator[StoreServer]:
    """A store with a log on the disk, as the embedded one."""
    (tmp_path / "store").mkdir()
    options = ("--appendonly", "yes", "--rdbcompression", "no", "--slowlog-log-slower-than", "-1")
    server = StoreServer(tmp_path / "store", options)
    server.start()
    yield server
    server.stop()


@pytest.fixture
async def place(
    request: pytest.FixtureRequest, logged_store: StoreServer, databases: Databases, tmp_path: Path
) -> AsyncIterator[Place]:
    location = await databases.make()
    settings = make_settings(logged_store.url, tmp_path)
    settings = settings.model_copy(update={"database_url": url_of(location)})
    async with run_api(serve, settings) as api, Database.of(location) as database:
        yield Place(Sales(api, database), settings, logged_store, databases.server)
    await databases.remove(location)


async def connect(place: Place, kind: str) -> dict[str, Any]:
    body = {"kind": kind, "name": kind, "secrets": [SECRETS[kind]]}
    _, answer = await place.sales.ask("POST", "/connections", body)
    found: dict[str, Any] = answer["connection"]
    return found


SESSION = changed(
    fixture("stripe", "checkout_session_completed"),
    data__object__customer="cus_Anneliese",
    data__object__customer_details__email=ADDRESS.upper(),
    data__object__customer_details__name=NAME,
    data__object__metadata={"email": ADDRESS, "buyer": NAME, "pack": "drums"},
)
ORDER = changed(
    fixture("shopify", "order_paid"),
    email=NORMAL,
    contact_email=NORMAL,
    browser_ip="192.0.2.77",
    customer__email=NORMAL,
    billing_address__name=NAME,
    line_items__0__title=f"Drums for {ADDRESS}",
)


async def tell_everything(place: Place, shops: dict[str, dict[str, Any]], turn: str) -> None:
    """Everything that tells of the person, as it may come again. turn: makes the ids of events new."""
    await place.send(shops["stripe"], changed(SESSION, id=f"evt_session{turn}"))
    topic = {"x-shopify-topic": "orders/paid", "x-shopify-webhook-id": f"order{turn}"}
    await place.send(shops["shopify"], ORDER, **topic)
    buyer = {"email": ADDRESS, "name": NAME}
    await place.sales.put("A-1", customer=buyer, lines=[{"id": f"for {ADDRESS}", "productId": "drums"}])
    await place.settled()


async def leave_traces(place: Place, shops: dict[str, dict[str, Any]]) -> None:
    """What else there is of a person: ignored events, tokens, changes, mails."""
    ignored = {"id": "evt_customer", "type": "customer.updated", "livemode": True, "created": 1789999000}
    person = {"object": {"id": "cus_Anneliese", "email": ADDRESS, "name": NAME}}
    await place.send(shops["stripe"], {**ignored, "data": person})
    buyer = quote(f"email={ADDRESS}&full_name={NAME}")
    await place.send(shops["stripe"], {**ignored, "id": "evt_2", "data": {"object": {"query": buyer}}})
    tokens = place.sales.api.store.tokens
    for email in (NORMAL, ADDRESS.upper(), ADDRESS.lower().replace("ü", "u\u0308")):
        await tokens.create("drums", email=email, name=NAME, metadata={"for": ADDRESS})
    await place.sales.api.store.audit.record("cli", "customer.move", {"to": ADDRESS, "name": NAME})
    await place.sales.api.store.audit.record("cli", "customer.move", {"to": OTHER})
    mails = place.settings.data / "mail"
    mails.mkdir(parents=True)
    (mails / "1.eml").write_text(f"To: {NORMAL}\n\nHello")
    text = base64.b64encode(f"Hello {NAME}".encode()).decode()
    (mails / "2.eml").write_text(
        "To: x@example.com\nContent-Type: text/plain; charset=utf-8\n"
        f"Content-Transfer-Encoding: base64\n\n{text}"
    )
    (mails / "3.eml").write_text(f"To: {OTHER}\n\nHello")


async def send_some(place: Place, number: int, token: str, client: str) -> None:
    """A download of a client, told by a worker and applied."""
    store = place.sales.api.store.client
    sent = usage_event(number, token=token, client=client, agent=f"curl/8 ({NAME})")
    assert await store.run(ADD_EVENTS, [events_key(0)], 2**20, batch([sent])) == 1
    async with asyncio.timeout(60):
        while await store.call("XLEN", events_key(0)):  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def usage_rows(place: Place) -> str:
    """What is left of usage, and of tokens that were known."""
    async with place.sales.database.reading() as sql:
        return str([(await sql.execute(select(table))).all() for table in (DOWNLOAD, TOKEN)])


@pytest.mark.slow
async def test_the_person_is_in_no_byte_and_nothing_brings_them_back(place: Place) -> None:
    shops = {kind: await connect(place, kind) for kind in ("stripe", "shopify")}
    mapping = {"key": "metadata", "value": "pack=drums", "products": [{"productId": "drums"}]}
    await place.sales.ask("PUT", f"/connections/{shops['stripe']['id']}/mappings", {"mappings": [mapping]})
    await tell_everything(place, shops, "1")
    await leave_traces(place, shops)
    await place.sales.put("B-1", customer={"email": OTHER, "name": "Jo"})
    await place.settled()
    _, found = await place.sales.ask("GET", f"/customers?email={quote(ADDRESS)}")
    customer = next(each for each in found["customers"])
    _, upper = await place.sales.ask("GET", f"/customers?email={quote(ADDRESS.upper())}")
    _, before = await place.sales.ask("GET", "/entitlements?limit=50")
    by_customer = {each["id"]: each for each in before["entitlements"]}
    [entitlement] = [each for each in by_customer.values() if each["email"] == NORMAL]
    _, url = await place.sales.ask("POST", f"/entitlements/{entitlement['id']}/download-url", {})
    await send_some(place, 0, token_id(url["downloadToken"]), "192.0.2.77")
    assert "192.0.2.77" in await usage_rows(place)
    if place.postgres is not None:
        await place.postgres.execute("ANALYZE", name=place.sales.database.location.label.rpartition("/")[2])
    assert len(await place.found()) >= 4
    for each in (customer, upper["customers"][0]):
        assert (await place.sales.ask("DELETE", f"/customers/{each['id']}"))[0] == 204
    for turn in ("2", "3"):
        await place.settled()
        assert await place.found() == set()
        for kind in shops:
            _, listed = await place.sales.ask("GET", f"/connections/{shops[kind]['id']}/events")
            for event in listed["events"]:
                path = f"/connections/{shops[kind]['id']}/events/{event['id']}/replay"
                status, answer = await place.sales.ask("POST", path)
                assert status in (202, 409), answer
        await tell_everything(place, shops, turn)
    _, order = await place.sales.ask("GET", "/orders/zapier/A-1")
    assert order["order"]["customer"] == {"id": customer["id"], "email": None, "name": None}
    assert order["order"]["status"] == "paid"
    _, after = await place.sales.ask("GET", "/entitlements?limit=50")
    assert {each["id"]: each["status"] for each in after["entitlements"]} == {
        each["id"]: each["status"] for each in by_customer.values()
    }
    _, tokens = await place.sales.ask("GET", "/downloads/tokens")
    assert {
        (each["status"], each["customer"] and each["customer"]["email"]) for each in tokens["tokens"]
    } == {("revoked", None)}
    assert url["downloadToken"]
    _, others = await place.sales.ask("GET", f"/customers?email={OTHER}")
    assert len(others["customers"]) == 1
    assert [each.name for each in (place.settings.data / "mail").iterdir()] == ["3.eml"]
    await send_some(place, 1, token_id(url["downloadToken"]), "198.51.100.9")  # it was on its way
    rows = await usage_rows(place)
    assert ("198.51.100.9" in rows, NAME in rows, customer["id"] in rows) == (False, False, True)
    changes = await place.sales.api.store.audit.latest(50)
    assert {each.what["to"] for each in changes if each.action == "customer.move"} == {"erased", OTHER}
