"""/api/mails, and the flags that cause mails: on the running web process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from gateway.config.settings import Settings
from gateway.web.service import serve
from tests.support.control_plane import Api, make_settings, run_api
from tests.support.mail_server import MailServer
from tests.support.raw_connection import PATIENCE_SECONDS
from tests.support.store_server import StoreServer

ORDER = {
    "customer": {"email": "ann@example.com", "name": "Ann"},
    "number": "#1001",
    "status": "paid",
    "country": "DE",
    "lines": [{"id": "1", "productId": "drums"}],
    "mail": True,
}


@pytest.fixture
async def server() -> AsyncIterator[MailServer]:
    async with MailServer() as server:
        yield server


@pytest.fixture
async def api(store: StoreServer, tmp_path: Path, server: MailServer) -> AsyncIterator[Api]:
    settings = make_settings(store.url, tmp_path)
    settings = Settings.model_validate({**settings.model_dump(), "mail_url": server.url})
    async with run_api(serve, settings) as api:
        yield api


async def mails(api: Api, query: str = "") -> list[dict[str, Any]]:
    status, body, _ = await api.ask("GET", f"/api/mails{query}")
    assert status == 200
    found: list[dict[str, Any]] = body["mails"]
    return found


async def settled(api: Api, count: int) -> list[dict[str, Any]]:
    """The mails, once so many do not wait any more."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            found = await mails(api)
            if len([each for each in found if each["dueAt"] is None]) >= count:
                return found
            await asyncio.sleep(0.05)


@pytest.mark.slow
async def test_from_an_order_to_a_mail_a_resend_and_an_erased_customer(
    api: Api, server: MailServer, tmp_path: Path
) -> None:
    status, body, _ = await api.ask("PUT", "/api/orders/zapier/1001", ORDER)
    assert status == 201
    [mail] = await server.wait()
    assert mail.recipients == ("ann@example.com",)
    assert mail.subject == "drums steht zum Herunterladen bereit"  # the language of the order's country
    assert "#1001" in mail.text
    assert mail.links[0] == "https://downloads.example/my"
    assert "ct_" not in mail.text + mail.html
    [shown] = await settled(api, 1)
    assert (shown["kind"], shown["state"], shown["email"], shown["code"]) == (
        "ready", "sent", "ann@example.com", 250,
    )  # fmt: skip
    assert await api.ask("PUT", "/api/orders/zapier/1001", {**ORDER, "number": "#1001b"})
    assert (await api.ask("PUT", "/api/orders/zapier/1002", {**ORDER, "mail": False}))[0] == 201
    assert (await api.ask("PUT", "/api/orders/zapier/1003", {**ORDER, "test": True}))[0] == 201

    status, body, _ = await api.ask("POST", f"/api/mails/{shown['id']}/resend")
    assert (status, body["mail"]["state"]) == (202, "waiting")
    await server.wait(2)
    assert server.mails[1].message["Message-ID"] != mail.message["Message-ID"]
    assert len(await settled(api, 2)) == 2
    assert len(await mails(api, "?state=sent&email=ann%40example.com&kind=ready&limit=1")) == 1
    assert await mails(api, "?state=failed") == []

    identifier = shown["customerId"]
    assert (await api.ask("DELETE", f"/api/customers/{identifier}"))[0] == 204
    assert await mails(api) == []
    assert len(server.mails) == 2


async def test_what_cannot_be_sent_again(api: Api, server: MailServer) -> None:
    assert (await api.ask("POST", "/api/mails/01hq3v8k2m4n6p8r0t2v4x6z8b/resend"))[0] == 404
    assert (await api.ask("GET", "/api/mails/01hq3v8k2m4n6p8r0t2v4x6z8b"))[0] == 404
    status, body, _ = await api.ask("GET", "/api/mails?state=lost")
    assert (status, "state" in body["error"]) == (400, True)


async def test_customers_are_told_of_a_version_once(api: Api, server: MailServer) -> None:
    for number, name in enumerate(("ann", "bob")):
        order = {**ORDER, "customer": {"email": f"{name}@example.com"}, "mail": False, "country": "US"}
        assert (await api.ask("PUT", f"/api/orders/zapier/{number}", order))[0] == 201
    for _ in range(2):
        status, body, _ = await api.ask(
            "PUT", "/api/products/drums", {"activeVersion": "2.0.0", "notify": True}
        )
        assert status == 200, body
    await server.wait(2)
    found = await settled(api, 2)
    assert [each["kind"] for each in found] == ["version"] * 2
    assert {mail.recipients[0] for mail in server.mails} == {"ann@example.com", "bob@example.com"}
    assert server.mails[0].subject == "drums: version 2.0.0 is here"
    assert (await api.ask("PUT", "/api/products/drums", {"notify": True}))[0] == 400
    assert (await api.ask("PUT", "/api/products/drums", {"activeVersion": "1.0.0"}))[0] == 200
    assert len(await mails(api)) == 2


async def test_a_connection_says_whether_buyers_are_told(api: Api) -> None:
    new = {"kind": "stripe", "name": "shop", "secrets": ["whsec_123456"]}
    status, body, _ = await api.ask("POST", "/api/connections", new)
    assert (status, body["connection"]["mail"]) == (201, False)
    url = f"/api/connections/{body['connection']['id']}"
    status, body, _ = await api.ask("PATCH", url, {"mail": True})
    assert (status, body["connection"]["mail"]) == (200, True)
    assert (await api.ask("GET", url))[1]["connection"]["mail"] is True
    assert (await api.ask("PATCH", url, {"name": "other"}))[1]["connection"]["mail"] is True
