"""*Webhooks*: made with the secret shown once, tried, switched off and on, what was sent, and removed."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web

from gateway.config.settings import Settings
from gateway.database.types import new_id, now
from gateway.database.webhook_tables import OUTBOX_WEBHOOK, WEBHOOK_EVENT
from tests.support.control_plane import listen, url_of
from tests.support.dashboard import Visitor, check_markup, open_database_of

MARKUP = "<img src=x onerror=alert(1)>"


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"loopback_webhooks": True})


@pytest.fixture
async def receiver() -> AsyncIterator[tuple[str, list[Any]]]:
    """A program that takes webhooks, and what it got."""
    got: list[Any] = []

    async def take(request: web.Request) -> web.Response:
        got.append((await request.json())["type"])
        return web.Response()

    application = web.Application()
    application.router.add_post("/hook", take)
    runner = web.AppRunner(application)
    await runner.setup()
    sock = listen()
    await web.SockSite(runner, sock).start()
    yield f"{url_of(sock)}/hook", got
    await runner.cleanup()


async def test_a_webhook_from_its_address_to_its_end(
    owner: Visitor, settings: Settings, receiver: tuple[str, list[Any]]
) -> None:
    url, got = receiver
    assert "Nothing is told to anybody yet" in (await owner.get("/settings/webhooks")).text
    for wrong in ("", "ftp://x.example", "http://10.0.0.1/x", "https://x.example/\nb"):
        assert (await owner.post("/settings/webhooks", url=wrong)).status == 422
    made = await owner.post("/settings/webhooks", url=url, name=MARKUP)
    assert (made.status, made.headers["Cache-Control"]) == (200, "no-store")
    [secret] = set(re.findall(r'value="(whsec_[^"]+)"', made.text))
    [path] = set(re.findall(r"/dashboard(/settings/webhooks/\w{26})/rotate", made.text))
    for page in (made, await owner.get(path), await owner.get("/settings/webhooks")):
        check_markup(page)
    assert secret not in (await owner.get(path)).text
    assert "has arrived: 200" in (await owner.send(f"{path}/test")).notice
    assert got == ["webhook.test"]
    rotated = await owner.post(f"{path}/rotate")
    assert secret not in rotated.text
    assert "whsec_" in rotated.text
    assert "is disabled" in (await owner.send(f"{path}/switch", enabled="no")).notice
    delivery = await write_delivery(settings, path.rpartition("/")[2])
    shown = await owner.get(path)
    assert "order.paid" in shown.text
    check_markup(shown)
    assert "enable it first" in (await owner.send(f"{path}/deliveries/{delivery}/replay")).notice
    await owner.send(f"{path}/switch", enabled="yes")
    assert "sent once more" in (await owner.send(f"{path}/deliveries/{delivery}/replay")).notice
    assert (await owner.post(f"{path}/deliveries/{'x' * 26}/replay")).status == 404
    assert "is removed" in (await owner.send(f"{path}/remove")).notice
    assert (await owner.get(path)).status == 404
    assert (await owner.post(f"{path}/test")).status == 404


async def write_delivery(settings: Settings, webhook: str) -> str:
    event, delivery = new_id(), new_id()
    async with open_database_of(settings) as database, database.writing() as sql:
        await sql.execute(
            WEBHOOK_EVENT.insert().values(
                id=event, type="order.paid", happened=now(), created=now(), data={"name": MARKUP}
            )
        )
        await sql.execute(
            OUTBOX_WEBHOOK.insert().values(
                id=delivery,
                webhook_id=webhook,
                event_id=event,
                state="failed",
                attempts=1,
                tries=[[now(), 500, 12, MARKUP]],
            )
        )
    return delivery
