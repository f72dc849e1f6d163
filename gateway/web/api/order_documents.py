"""Rows of orders, customers and entitlements as the JSON objects of the admin API."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Row

from gateway.orders.customer_store import Customer
from gateway.orders.order_queries import ShownOrder
from gateway.web.times import format_time


def _time(moment: int | None) -> str | None:
    return None if moment is None else format_time(moment)


def order_document(shown: ShownOrder) -> dict[str, Any]:
    """Make the document of an order."""
    row = shown.row
    return {
        "source": row.source,
        "orderId": row.external_id,
        "number": row.number,
        "status": row.status,
        "placedAt": format_time(row.placed),
        "test": row.test,
        "country": row.country,
        "total": row.details.get("total"),
        "unassignedRefunds": row.details.get("unassigned", []),
        "customer": {"id": row.customer_id, "email": row.email, "name": row.name},
        "lines": [
            {
                "id": line.external_id,
                "item": {"key": line.item_key, "value": line.item_value} if line.item_key else None,
                "title": line.title,
                "quantity": line.quantity,
                "refunded": line.refunded,
                "waits": line.waits,
                "entitlementIds": shown.entitlements.get(line.id, []),
            }
            for line in shown.lines
        ],
    }


def customer_document(customer: Customer) -> dict[str, Any]:
    """Make the document of a customer."""
    return {
        "id": customer.id,
        "email": customer.email,
        "name": customer.name,
        "createdAt": format_time(customer.created),
        "erasedAt": _time(customer.erased),
    }


def entitlement_document(row: Row[Any]) -> dict[str, Any]:
    """Make the document of an entitlement."""
    return {
        "id": row.id,
        "customerId": row.customer_id,
        "email": row.email,
        "productId": row.product_id,
        "scope": row.scope,
        "version": row.version,
        "updatesUntil": _time(row.updates_until),
        "quantity": row.quantity,
        "status": row.status,
        "reasons": row.reasons,
        "override": row.override,
        "reason": row.reason,
        "test": row.test,
        "createdAt": format_time(row.created),
        "order": None
        if row.source is None
        else {"source": row.source, "orderId": row.external_id, "number": row.number},
    }


def page_of(documents: list[dict[str, Any]], name: str, cursor: str | None) -> dict[str, Any]:
    """Make the answer of a list. cursor: of the next page, None after the last one."""
    return {"success": True, name: documents, "nextCursor": cursor}
