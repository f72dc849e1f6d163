"""/api/webhooks, and everything that is announced, from what happens to the receiver."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import standardwebhooks
from sqlalchemy import select, update

from gateway.config.settings import Settings
from gateway.database.engine import Database
from gateway.database.types import now
from gateway.database.usage_tables import DOWNLOAD, TOKEN
from gateway.database.webhook_tables import WEBHOOK_EVENT
from gateway.store.key_names import events_key, token_key
from gateway.store.scripts import ADD_EVENTS
from gateway.usage.events import FileOfVersion
from gateway.usage.lapses import Lapses
from gateway.web.service import serve
from gateway.webhooks.outbox.announcements import FIELDS, EventType
from tests.support.control_plane import Api, run_api
from tests.support.databases import Databases, url_of
from tests.support.receiver import Received, Receiver, run_receiver
from tests.support.rows import each_row
from tests.support.sales import Sales
from tests.support.usage import batch, event
from tests.support.waiting import until

FILE = FileOfVersion("drums", "1.0.0", "file 0.bin", 100, "0" * 64)


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with run_receiver() as running:
        yield running


@pytest.fixture
async def sales(settings: Settings, databases: Databases) -> AsyncIterator[Sales]:
    """The admin API, where endpoints on this machine are allowed."""
    location = await databases.make()
    settings = settings.model_copy(update={"database_url": url_of(location), "loopback_webhooks": True})
    async with run_api(serve, settings) as api, Database.of(location) as database:
        yield Sales(api, database)
    await databases.remove(location)


async def add(sales: Sales, url: str, **more: Any) -> dict[str, Any]:
    status, body = await sales.ask("POST", "/webhooks", {"url": url, **more})
    assert status == 201, body
    document: dict[str, Any] = body["webhook"]
    return document


async def next_one(receiver: Receiver, kind: str, count: int = 1) -> Received:
    """Wait for the message of a type."""

    def found() -> list[Received]:
        return [each for each in receiver.received if each.document["type"] == kind]

    await until(lambda: len(found()) >= count, 30)
    assert len(found()) == count
    return found()[-1]


@pytest.mark.slow
async def test_what_happens_is_told(sales: Sales, receiver: Receiver) -> None:
    """Each type once, with the fields that are documented, and signed."""
    secret = (await add(sales, receiver.url()))["secret"]
    judge = standardwebhooks.Webhook(secret)

    def data_of(request: Received) -> dict[str, Any]:
        document = judge.verify(request.body, request.headers)
        assert set(document["data"]) == set(FIELDS[EventType(document["type"])])
        found: dict[str, Any] = document["data"]
        return found

    await sales.ask("POST", "/products", {"productId": "bass", "name": "Bass"})
    file = {"name": "a.bin", "size": 100, "storage": "main", "key": "a.bin"}
    version = {"version": "1", "files": [file]}
    for _ in range(2):  # the second time, nothing new is registered
        status, body = await sales.ask("POST", "/products/bass/versions", version)
        assert status == 200, body
    uploaded = data_of(await next_one(receiver, "product.uploaded"))
    assert (uploaded["productId"], uploaded["files"], uploaded["bytes"]) == ("bass", 1, 100)

    assert (await sales.put(number="1001", country="DE"))[0] in (200, 201)
    paid = data_of(await next_one(receiver, "order.paid"))
    assert (paid["source"], paid["orderId"], paid["number"]) == ("zapier", "A-1", "1001")
    assert (paid["productIds"], paid["lines"], paid["test"]) == (["drums"], 1, False)
    _, order = await sales.ask("GET", "/orders/zapier/A-1")
    assert paid["customerId"] == order["order"]["customer"]["id"]
    [entitlement] = order["order"]["lines"][0]["entitlementIds"]

    status, minted = await sales.ask(
        "POST", f"/entitlements/{entitlement}/download-url", {"version": "1.0.0"}
    )
    assert status == 200
    created = data_of(await next_one(receiver, "token.created"))
    assert (created["entitlementId"], created["customerId"]) == (entitlement, paid["customerId"])
    assert (created["productId"], created["version"]) == ("drums", "1.0.0")
    token = created["tokenId"]

    await send_event(sales.api, token, 0, ((0, 60),))
    started = data_of(await next_one(receiver, "download.started"))
    assert (started["tokenId"], started["bytes"], started["completedAt"]) == (token, 60, None)
    assert started["file"] == {"name": "file 0.bin", "size": 100, "sha256": "0" * 64}
    await send_event(sales.api, token, 1, ((60, 100),))
    completed = data_of(await next_one(receiver, "download.completed"))
    assert (completed["downloadId"], completed["bytes"]) == (started["downloadId"], 100)
    assert (completed["covered"], completed["requests"]) == (100, 2)
    assert (completed["customerId"], completed["client"]) == (paid["customerId"], "curl")

    assert (await sales.put(number="1001", country="DE", status="refunded"))[0] == 200
    revoked = data_of(await next_one(receiver, "entitlement.revoked"))
    assert (revoked["entitlementId"], revoked["orderId"]) == (entitlement, "A-1")
    assert revoked["reasons"]
    assert (await sales.put(number="1001", country="DE", status="refunded"))[0] == 200

    async with sales.database.writing() as sql:
        await sql.execute(update(TOKEN).where(TOKEN.c.id == token).values(expires=now()))
    await sales.api.store.client.call("DEL", token_key(token))
    expired = data_of(await next_one(receiver, "token.expired"))
    assert (expired["tokenId"], expired["entitlementId"]) == (token, entitlement)

    everything = str([each.body for each in receiver.received])
    assert len(receiver.received) == 7
    for secret_or_person in ("ann@example.com", "Ann", "192.0.2.1", minted["downloadToken"], "/download"):
        assert secret_or_person not in everything


async def send_event(api: Api, token: str, number: int, spans: tuple[tuple[int, int], ...]) -> None:
    """Put an event of usage into the store, as a worker does."""
    began = 1000 * now()
    one = event(number, token=token, file=FILE, spans=spans, started=began, ended=began + 1000)
    assert await api.store.client.run(ADD_EVENTS, [events_key(0)], 2**20, batch([one])) == 1


async def recorded(sales: Sales, token: str) -> int:
    """Wait until a token is copied from the store. Returns when it expires, as it is recorded."""
    query = select(TOKEN.c.expires).where(TOKEN.c.id == token)
    async with asyncio.timeout(30):
        while True:
            async with sales.database.reading() as sql:
                found = await sql.scalar(query)
            if found is not None:
                return int(found)
            await asyncio.sleep(0.02)


async def test_a_link_of_the_mint_service_is_told(sales: Sales, receiver: Receiver) -> None:
    """It comes through the store; a token that was copied before anybody asked is not told."""
    tokens = sales.api.store.tokens
    old = await tokens.create("drums", "1.0.0", expires_in=100)
    await recorded(sales, old.record.id)
    await add(sales, receiver.url(), types=["token.created"])
    made = await tokens.create(
        "drums", "1.0.0", expires_in=100, max_downloads=2, email="ann@example.com", metadata={"test": True}
    )
    request = await next_one(receiver, "token.created")
    data = request.document["data"]
    assert (data["tokenId"], data["entitlementId"], data["customerId"]) == (made.record.id, None, None)
    assert (data["test"], data["maxDownloads"]) == (True, 2)
    assert b"ann@example.com" not in request.body


@pytest.mark.slow
async def test_a_download_that_stops_is_told_as_failed_once(sales: Sales, receiver: Receiver) -> None:
    await add(sales, receiver.url(), types=["download.failed", "download.completed"])
    token = (await sales.api.store.tokens.create("drums", "1.0.0", expires_in=100)).record.id
    await send_event(sales.api, token, 0, ((0, 60),))

    async def downloads() -> list[Any]:
        async with sales.database.reading() as sql:
            return list(await sql.execute(select(DOWNLOAD)))

    async with asyncio.timeout(30):
        while not await downloads():  # noqa: ASYNC110 - a database announces nothing
            await asyncio.sleep(0.02)
    lapses = Lapses(sales.database, sales.api.store.client, quiet_seconds=0)
    patient = Lapses(sales.database, sales.api.store.client)
    assert not await patient.find_downloads()
    assert receiver.received == []
    await lapses.find_downloads()
    await lapses.find_downloads()
    failed = (await next_one(receiver, "download.failed")).document["data"]
    assert (failed["tokenId"], failed["covered"], failed["completedAt"]) == (token, 60, None)
    await send_event(sales.api, token, 1, ((60, 100),))
    completed = (await next_one(receiver, "download.completed")).document["data"]
    assert completed["downloadId"] == failed["downloadId"]
    await lapses.find_downloads()
    [row] = await downloads()
    assert row.failed is not None


async def test_a_token_whose_expiry_was_moved_is_told_later(sales: Sales, receiver: Receiver) -> None:
    await add(sales, receiver.url(), types=["token.expired"])
    tokens = sales.api.store.tokens
    token = (await tokens.create("drums", "1.0.0", expires_in=1000)).record

    assert await recorded(sales, token.id) == token.expires
    async with sales.database.writing() as sql:
        await sql.execute(update(TOKEN).values(expires=now()))
    async with asyncio.timeout(30):
        while await recorded(sales, token.id) != token.expires:  # noqa: ASYNC110 - it is in the store still
            await asyncio.sleep(0.02)
    assert receiver.received == []


@pytest.mark.slow
async def test_an_erased_customer_leaves_outbox_and_log(sales: Sales, receiver: Receiver) -> None:
    document = await add(sales, receiver.url())
    receiver.answers["/hook"] = "500"
    await sales.put()
    await next_one(receiver, "order.paid")
    await sales.put("B-2", customer={"email": "bob@example.com"})
    await next_one(receiver, "order.paid", 2)
    _, found = await sales.ask("GET", "/customers?email=ann@example.com")
    [customer] = found["customers"]
    assert (await sales.ask("DELETE", f"/customers/{customer['id']}"))[0] in (200, 204)
    async with sales.database.reading() as sql:
        events = (await sql.execute(select(WEBHOOK_EVENT))).all()
    assert [each.data["orderId"] for each in events] == ["B-2"]
    _, log = await sales.ask("GET", f"/webhooks/{document['id']}/deliveries")
    assert [each["payload"]["data"]["orderId"] for each in log["deliveries"]] == ["B-2"]


@pytest.mark.slow
async def test_an_endpoint_lives_its_life(sales: Sales, receiver: Receiver) -> None:
    made = await add(sales, receiver.url(), name="crm", types=["order.paid"])
    path = f"/webhooks/{made['id']}"
    secret = made.pop("secret")
    assert (made["name"], made["types"], made["enabled"], made["secrets"]) == ("crm", ["order.paid"], True, 1)
    status, listed = await sales.ask("GET", "/webhooks")
    assert (status, listed) == (200, {"success": True, "webhooks": [made], "nextCursor": None})
    assert await sales.ask("GET", path) == (200, {"success": True, "webhook": made})

    status, tested = await sales.ask("POST", f"{path}/test")
    assert (status, tested["test"]["delivered"], tested["test"]["status"]) == (200, True, 200)
    [request] = receiver.received
    assert standardwebhooks.Webhook(secret).verify(request.body, request.headers)["type"] == "webhook.test"

    status, rotated = await sales.ask("POST", f"{path}/rotate", {"overlap": 3600})
    assert (status, rotated["webhook"]["secrets"]) == (200, 2)
    await sales.ask("POST", f"{path}/test")
    for each in (secret, rotated["webhook"]["secret"]):
        standardwebhooks.Webhook(each).verify(receiver.received[-1].body, receiver.received[-1].headers)
    status, rotated = await sales.ask("POST", f"{path}/rotate", {"overlap": 0})
    await sales.ask("POST", f"{path}/test")
    with pytest.raises(standardwebhooks.WebhookVerificationError):
        standardwebhooks.Webhook(secret).verify(receiver.received[-1].body, receiver.received[-1].headers)

    await sales.put()
    await next_one(receiver, "order.paid")
    async with asyncio.timeout(30):
        while True:
            _, log = await sales.ask("GET", f"{path}/deliveries?state=delivered")
            if log["deliveries"]:
                break
    [delivery] = log["deliveries"]
    assert delivery["payload"] == receiver.received[-1].document
    assert delivery["messageId"] == receiver.received[-1].headers["webhook-id"]
    assert [each["status"] for each in delivery["tries"]] == [200]
    status, _ = await sales.ask("POST", f"{path}/deliveries/{delivery['id']}/replay")
    assert status == 202
    again = await next_one(receiver, "order.paid", 2)
    assert again.headers["webhook-id"] == delivery["messageId"]

    status, changed = await sales.ask("PATCH", path, {"enabled": False, "name": None})
    assert (status, changed["webhook"]["enabled"], changed["webhook"]["name"]) == (200, False, None)
    status, problem = await sales.ask("POST", f"{path}/deliveries/{delivery['id']}/replay")
    assert (status, problem["code"]) == (409, "webhook_disabled")
    await sales.put("B-2")
    status, changed = await sales.ask("PATCH", path, {"enabled": True, "types": []})
    assert (changed["webhook"]["enabled"], changed["webhook"]["types"]) == (True, [])
    assert (await sales.ask("DELETE", path))[0] == 204
    assert (await sales.ask("GET", path))[0] == 404


@each_row(
    ("body", "field"),
    [
        ({}, "url"),
        ({"url": 1}, "url"),
        ({"url": "http://shop.example/hook"}, "url"),
        ({"url": "https://10.0.0.1/hook"}, "url"),
        ({"url": "https://169.254.169.254/latest/meta-data/"}, "url"),
        ({"url": "https://[::ffff:10.0.0.1]/hook"}, "url"),
        ({"url": "https://2130706433/hook"}, "url"),
        ({"url": "https://shop.example:22/hook"}, "url"),
        ({"url": "https://user@shop.example/hook"}, "url"),
        ({"url": "https://shop.example/" + "x" * 2000}, "url"),
        ({"url": "https://shop.example/", "types": ["order.refunded"]}, "types[0]"),
        ({"url": "https://shop.example/", "types": ["*"]}, "types[0]"),
        ({"url": "https://shop.example/", "types": "order.paid"}, "types"),
        ({"url": "https://shop.example/", "secret": "whsec_x"}, "secret"),
        ({"url": "https://shop.example/", "name": 5}, "name"),
    ],
)
@pytest.mark.asyncio(loop_scope="session")
async def test_what_no_endpoint_may_have(refusing: Api, body: dict[str, Any], field: str) -> None:
    status, problem, _ = await refusing.ask("POST", "/api/webhooks", body)
    assert (status, problem["code"]) == (400, "invalid_request")
    assert [each["field"] for each in problem["errors"]] == [field]


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.0"])
@pytest.mark.asyncio(loop_scope="session")
async def test_this_machine_needs_the_setting(refusing: Api, host: str) -> None:
    for scheme in ("http", "https"):
        status, problem, _ = await refusing.ask("POST", "/api/webhooks", {"url": f"{scheme}://{host}:8000/"})
        assert (status, problem["errors"][0]["field"]) == (400, "url")


@each_row(
    ("method", "path", "body", "status"),
    [
        ("PATCH", "", {}, 400),
        ("PATCH", "", {"url": None}, 400),
        ("PATCH", "", {"url": "https://10.0.0.1/"}, 400),
        ("PATCH", "", {"name": "x"}, 404),
        ("POST", "/rotate", {"overlap": -1}, 400),
        ("POST", "/rotate", {"overlap": 604801}, 400),
        ("POST", "/rotate", {"overlap": 5}, 404),
        ("POST", "/test", None, 404),
        ("GET", "/deliveries?limit=0", None, 400),
        ("GET", "/deliveries?state=lost", None, 400),
        ("GET", "/deliveries?cursor=x", None, 400),
        ("GET", "/deliveries", None, 404),
        ("POST", "/deliveries/00000000000000000000000000/replay", None, 404),
        ("DELETE", "", None, 404),
    ],
)
@pytest.mark.asyncio(loop_scope="session")
async def test_refusals(refusing: Api, method: str, path: str, body: Any, status: int) -> None:
    got, _, _ = await refusing.ask(method, f"/api/webhooks/{'0' * 26}{path}", body)
    assert got == status
