"""The work for webhooks as a whole: what is counted, and how much may wait."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import update

from gateway.connections.sealing import SecretBox
from gateway.database.types import now
from gateway.database.webhook_tables import WEBHOOK
from gateway.runtime.metrics import WEBHOOKS_DISABLED, WEBHOOKS_WAITING, Counters
from gateway.webhooks import desk
from gateway.webhooks.desk import WebhookDesk
from tests.support.outbox import Outbox


@pytest.fixture
def counters() -> Counters:
    return Counters()


@pytest.fixture
def own_desk(outbox: Outbox, counters: Counters, tmp_path: Path) -> WebhookDesk:
    box = SecretBox(tmp_path)
    return WebhookDesk(outbox.database, box, counters, allow_loopback=False, keep_days=30)


def shown(counters: Counters) -> tuple[int, int]:
    values = counters.values()
    return values[WEBHOOKS_WAITING], values[WEBHOOKS_DISABLED]


async def test_what_waits_and_what_is_disabled_is_shown(
    outbox: Outbox, own_desk: WebhookDesk, counters: Counters
) -> None:
    await own_desk.count()
    assert shown(counters) == (0, 0)
    first, second = await outbox.add(), await outbox.add()
    await outbox.announce()
    await own_desk.count()
    await own_desk.count()
    assert shown(counters) == (2, 0)
    await outbox.endpoints.change(first.id, {"enabled": False})
    await own_desk.count()
    assert shown(counters) == (1, 1)
    await outbox.endpoints.remove(first.id)
    await outbox.endpoints.remove(second.id)
    await own_desk.count()
    assert shown(counters) == (0, 0)


async def test_an_endpoint_that_fails_may_not_fill_the_database(
    outbox: Outbox, own_desk: WebhookDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(desk, "MOST_WAITING", 3)
    slow, fails = await outbox.add(), await outbox.add()
    async with outbox.database.writing() as sql:
        failing = update(WEBHOOK).where(WEBHOOK.c.id == fails.id)
        await sql.execute(failing.values(failures=1, failing_since=now()))
    for _ in range(4):
        await outbox.announce()
    await own_desk.count()
    assert (await outbox.endpoints.get(slow.id)).disabled is None
    assert "messages wait" in ((await outbox.endpoints.get(fails.id)).disabled_reason or "")
    assert await outbox.states(fails) == [("failed", 0)] * 4
