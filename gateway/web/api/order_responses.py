# ruff: noqa: N815 - the fields are named as the API names them
"""The documents with which the admin API answers about orders, customers, entitlements and mappings."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from gateway.web.api.order_models import EntitlementStatus, ItemKey, OrderStatus, Scope
from gateway.web.models import ResponseModel, Time


class PersonDocument(ResponseModel):
    """Who bought. Null where nobody is known, or the customer was erased."""

    id: str | None
    email: str | None
    name: str | None


class ItemDocument(ResponseModel):
    """The identifier that was mapped, else the most specific one."""

    key: ItemKey
    value: str


class MoneyDocument(ResponseModel):
    """An amount in whole units of its currency."""

    amount: str
    currency: str


class LineDocument(ResponseModel):
    """One thing in an order."""

    id: str
    item: ItemDocument | None
    title: str | None
    quantity: int
    refunded: int
    waits: bool = Field(description="Nobody has mapped the item yet.")
    entitlementIds: list[str]


class OrderDocument(ResponseModel):
    """An order as it is now."""

    source: str = Field(description="A connection's id, or the word given by PUT.")
    orderId: str
    number: str | None
    status: OrderStatus
    placedAt: Time
    test: bool
    country: str | None
    total: MoneyDocument | None
    unassignedRefunds: list[MoneyDocument] = Field(description="Of amounts alone: they revoke nothing.")
    customer: PersonDocument
    lines: list[LineDocument]


class OrderResponse(ResponseModel):
    """One order."""

    success: Literal[True]
    order: OrderDocument


class OrdersResponse(ResponseModel):
    """One page of the orders, by their ids here."""

    success: Literal[True]
    orders: list[OrderDocument]
    nextCursor: str | None


class KnownCustomerDocument(ResponseModel):
    """A customer. Without email and name when erased."""

    id: str
    email: str | None
    name: str | None
    createdAt: Time
    erasedAt: Time | None


class CustomerResponse(ResponseModel):
    """One customer."""

    success: Literal[True]
    customer: KnownCustomerDocument


class CustomersResponse(ResponseModel):
    """One page of the customers."""

    success: Literal[True]
    customers: list[KnownCustomerDocument]
    nextCursor: str | None


class OrderOfEntitlement(ResponseModel):
    """The order that granted it."""

    source: str
    orderId: str
    number: str | None


class EntitlementDocument(ResponseModel):
    """A customer's right to a product."""

    id: str
    customerId: str
    email: str | None
    productId: str
    scope: Scope
    version: str | None
    updatesUntil: Time | None
    quantity: int
    status: EntitlementStatus
    reasons: list[str]
    override: Literal["grant", "revoke"] | None
    reason: str | None = Field(description="Why the seller granted or overrode it.")
    test: bool
    createdAt: Time
    order: OrderOfEntitlement | None = Field(description="Null when granted by hand.")


class EntitlementResponse(ResponseModel):
    """One entitlement."""

    success: Literal[True]
    entitlement: EntitlementDocument


class EntitlementsResponse(ResponseModel):
    """One page of the entitlements."""

    success: Literal[True]
    entitlements: list[EntitlementDocument]
    nextCursor: str | None


class ExportResponse(ResponseModel):
    """Everything that is known of a customer."""

    success: Literal[True]
    customer: KnownCustomerDocument
    addresses: list[dict[str, Any]]
    orders: list[dict[str, Any]] = Field(description="As /api/orders has them, each with the buyer's `ip`.")
    entitlements: list[EntitlementDocument]
    seats: list[dict[str, Any]] = Field(description="Of the entitlements, and those given to the customer.")
    tokens: list[dict[str, Any]] = Field(description="The tokens made from the entitlements, by their ids.")
    mails: list[dict[str, Any]] = Field(description="The mails to the customer, without what they say.")
    news: list[dict[str, Any]] = Field(description="Whether the customer declined mails about new versions.")
    liveTokens: list[dict[str, Any]] = Field(description="Every live token for the customer's addresses.")
    facts: list[dict[str, Any]] = Field(description="What platforms told of the orders.")
    events: list[dict[str, Any]] = Field(description="The webhooks in which they did, as they came.")
    webhookMessages: list[dict[str, Any]] = Field(
        description="The outgoing webhooks that name the customer, and what came of each."
    )


class MappingDocument(ResponseModel):
    """Which products an item is."""

    key: ItemKey
    value: str
    products: list[dict[str, Any]]


class MappingsResponse(ResponseModel):
    """All mappings of a connection."""

    success: Literal[True]
    mappings: list[MappingDocument]


class UnmappedDocument(ResponseModel):
    """An item that nobody has mapped, and how many customers wait for it."""

    connectionId: str = Field(description="The orders' source: a connection's id, or the word of PUT.")
    key: ItemKey | None
    value: str | None
    title: str | None
    customers: int


class UnmappedResponse(ResponseModel):
    """One page of the items that wait."""

    success: Literal[True]
    unmapped: list[UnmappedDocument]
    nextCursor: str | None
