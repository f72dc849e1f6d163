"""The first page: today at a glance, and what needs attention."""

from __future__ import annotations

from typing import Any

from gateway.connections.repository import Connection
from gateway.web.dashboard.home import is_refusing
from tests.support.control_plane import Api
from tests.support.dashboard import Visitor


async def test_all_is_well(api: Api, owner: Visitor) -> None:
    page = await owner.get("/")
    assert page.status == 200
    assert "every item is mapped" in page.text
    assert "Nothing was downloaded yet" in page.text


async def test_what_needs_attention_is_named(api: Api, owner: Visitor) -> None:
    body = {
        "customer": {"email": "ann@example.com"},
        "status": "paid",
        "lines": [{"id": "1", "sku": "X-9", "title": "<b>Drums</b>"}],
    }
    await api.ask("PUT", "/api/orders/zapier/A-1", body)
    page = await owner.get("/")
    assert "&lt;b&gt;Drums&lt;/b&gt;" in page.text
    assert "1 customer waits" in page.text
    assert "every item is mapped" not in page.text


def test_a_connection_refuses_while_the_latest_delivery_was_refused() -> None:
    def connection(event: int | None, refused: int | None) -> Connection:
        values: dict[str, Any] = dict.fromkeys(Connection.__dataclass_fields__)
        return Connection(**{**values, "last_event": event, "last_refused": refused})

    assert not is_refusing(connection(None, None))
    assert not is_refusing(connection(5, 4))
    assert is_refusing(connection(4, 5))
    assert is_refusing(connection(None, 5))
