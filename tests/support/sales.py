"""The admin API about orders, and the database behind it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from gateway.database.engine import Database
from tests.support.control_plane import Api


@dataclass
class Sales:
    """The admin API, and the database behind it."""

    api: Api
    database: Database

    async def ask(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """Status and body of an answer."""
        status, document, _ = await self.api.ask(method, f"/api{path}", body)
        return status, document

    async def put(self, order_id: str = "A-1", source: str = "zapier", **changes: Any) -> tuple[int, Any]:
        """Tell of an order of one line, three of the product drums."""
        body = {
            "customer": {"email": "ann@example.com", "name": "Ann"},
            "status": "paid",
            "lines": [{"id": "1", "productId": "drums", "quantity": 3}],
            **changes,
        }
        return await self.ask("PUT", f"/orders/{source}/{order_id}", body)
