"""What is announced to endpoints: the types, and the data of each. Pure. docs/webhooks.md shows them.

No data has a token, a link, a name or an address: a customer is named by the id of the admin API. So what was
sent is of no use to whoever finds it, and a receiver that needs more asks with its own key. Every text is cut
at MOST_CHARACTERS and every list at MOST_ITEMS, so a body stays below the 20 kB that Standard Webhooks
recommends.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final, NamedTuple

MOST_CHARACTERS: Final = 500
MOST_ITEMS: Final = 20
MARK: Final = "m:"
"""What the mark of an address begins with, by which a customer is counted who has no id."""


class EventType(StrEnum):
    """What endpoints may be told."""

    TOKEN_CREATED = "token.created"  # noqa: S105 - the name of a type
    TOKEN_EXPIRED = "token.expired"  # noqa: S105
    DOWNLOAD_STARTED = "download.started"
    DOWNLOAD_COMPLETED = "download.completed"
    DOWNLOAD_FAILED = "download.failed"
    PRODUCT_UPLOADED = "product.uploaded"
    ORDER_PAID = "order.paid"
    ENTITLEMENT_REVOKED = "entitlement.revoked"


TEST: Final = "webhook.test"
"""The type of what is sent to try an endpoint. Nobody asks for it."""

_DOWNLOAD: Final = (
    *("downloadId", "tokenId", "productId", "version", "file", "entitlementId", "customerId", "client"),
    *("startedAt", "lastAt", "completedAt", "requests", "bytes", "covered", "test"),
)
FIELDS: Final[Mapping[EventType, tuple[str, ...]]] = MappingProxyType(
    {
        EventType.TOKEN_CREATED: (
            *("tokenId", "productId", "version", "entitlementId", "customerId"),
            *("maxDownloads", "createdAt", "expiresAt", "test"),
        ),
        EventType.TOKEN_EXPIRED: (
            *("tokenId", "productId", "version", "entitlementId", "customerId"),
            *("createdAt", "expiredAt", "test"),
        ),
        EventType.DOWNLOAD_STARTED: _DOWNLOAD,
        EventType.DOWNLOAD_COMPLETED: _DOWNLOAD,
        EventType.DOWNLOAD_FAILED: _DOWNLOAD,
        EventType.PRODUCT_UPLOADED: (
            *("productId", "name", "version", "isActive", "files", "bytes"),
            *("manifestDigest", "publishedAt"),
        ),
        EventType.ORDER_PAID: (
            *("source", "orderId", "number", "customerId", "productIds", "lines", "total"),
            *("country", "placedAt", "test"),
        ),
        EventType.ENTITLEMENT_REVOKED: (
            *("entitlementId", "productId", "customerId", "source", "orderId", "reasons", "test"),
        ),
    }
)
"""The fields of each type's data: all of them are always there, null where nothing is known."""


class Announcement(NamedTuple):
    """Something that happened. happened: ms since 1970 UTC.

    key: of several with one key, the first is kept. customer: whom it mentions, an id or a mark of an
    address, by which an erasure finds it.
    """

    type: EventType
    happened: int
    data: Mapping[str, Any]
    key: str | None = None
    customer: str | None = None


def announce_as(
    kind: EventType,
    happened: int,
    data: Mapping[str, Any],
    *,
    key: str | None = None,
    customer: str | None = None,
) -> Announcement:
    """Make an announcement whose data has the fields of its type, in bounds. Raises KeyError for others."""
    given = {"customerId": customer_id(customer), **data}
    bounded = {name: bound(given.pop(name, None)) for name in FIELDS[kind]}
    given.pop("customerId", None)
    if given:
        raise KeyError(*given)
    return Announcement(kind, happened, bounded, None if key is None else f"{kind}:{key}", customer)


def customer_mark(email: str) -> str:
    """What stands for a customer of whom only the address is known."""
    return MARK + hashlib.sha256(email.strip().casefold().encode("utf-8", "replace")).hexdigest()[:24]


def customer_id(customer: str | None) -> str | None:
    """The id of whom usage counts; None where only an address is known, whose mark is told to nobody."""
    return None if customer is None or customer.startswith(MARK) else customer


def bound(value: Any) -> Any:
    """The value with its texts and lists cut."""
    if isinstance(value, str):
        return value[:MOST_CHARACTERS]
    if isinstance(value, Mapping):
        return {name: bound(each) for name, each in value.items()}
    if isinstance(value, Sequence):
        return [bound(each) for each in value[:MOST_ITEMS]]
    return value
