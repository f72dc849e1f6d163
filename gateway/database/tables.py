"""The tables, but for those of usage, mails and outgoing webhooks (…_tables.py beside this module).

`migrations/` makes them; a test compares the two.

Rules:

1. Only what SQLite and PostgreSQL both have: see `types.py` for moments and JSON. Keys that this program
   chooses are texts of `new_id`; there are no sequences, so rows are moved between databases as they are.
2. Every constraint has a name, by the convention below, so that a migration can name it on both.
3. `X_id` refers to the row of X; `external_id` is what a platform calls it.
4. What was sold refers to a product without a foreign key, because it stays known when that is removed.
5. Nothing here is needed to answer a download.
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    String,
    Table,
    Text,
    UniqueConstraint,
    false,
    text,
)

from gateway.database import mail_tables, metadata, usage_tables, webhook_tables
from gateway.database.types import Json, Moment

METADATA: Final = metadata.METADATA
OTHERS: Final = (usage_tables.TOKEN, webhook_tables.WEBHOOK)
"""Whoever imports this module has all tables in METADATA."""
OUTBOX_MAIL: Final = mail_tables.OUTBOX_MAIL
NEWS: Final = mail_tables.NEWS


def _id(name: str = "id") -> Column[str]:
    return Column(name, String(26), primary_key=True)


def _text(name: str, **options: Any) -> Column[str]:
    return Column(name, Text, **{"nullable": False, **options})


def _moment(name: str, **options: Any) -> Column[int]:
    return Column(name, Moment, **{"nullable": False, **options})


def _flag(name: str) -> Column[bool]:
    return Column(name, Boolean, nullable=False, server_default=false())


def _reference(name: str, target: str, ondelete: str = "CASCADE", **options: Any) -> Column[str]:
    options = {"nullable": False, **options}
    return Column(name, ForeignKey(target, ondelete=ondelete), **options)


# --- What Redis serves: gateway/catalogue/ ---

STATE: Final = Table(
    "state",
    METADATA,
    _text("name", primary_key=True),  # what it is: see gateway/catalogue/
    Column("value", Json, nullable=False),
)

PRODUCT: Final = Table(
    "product",
    METADATA,
    _text("id", primary_key=True),
    _text("name"),
    _text("status"),  # active, archived
    _text("active", nullable=True),  # the version that new tokens get
    _moment("created"),
    Column("revision", Integer, nullable=False),  # of the catalogue, when it was last changed
)

MANIFEST: Final = Table(
    "manifest",
    METADATA,
    Column("digest", String(64), primary_key=True),
    Column("text", LargeBinary, nullable=False),
)

VERSION: Final = Table(
    "version",
    METADATA,
    _reference("product", "product.id", primary_key=True),
    _text("version", primary_key=True),
    _reference("manifest", "manifest.digest", ondelete="RESTRICT"),
    _flag("trusted"),  # the digests of its files were not computed by us
    _text("notes", nullable=True),
    _moment("published"),
    _moment("created"),
)

API_KEY: Final = Table(
    "api_key",
    METADATA,
    Column("hash", String(64), primary_key=True),
    _text("name"),
    _text("role"),
    _moment("created"),
    _moment("expires", nullable=True),
    Column("revision", Integer, nullable=False),
)

REMOVED: Final = Table(
    "removed",
    METADATA,
    _text("kind", primary_key=True),  # product, key, manifest
    _text("name", primary_key=True),
    Column("revision", Integer, nullable=False),
)

# --- Who bought: gateway/orders/ ---

CUSTOMER: Final = Table(
    "customer",
    METADATA,
    _id(),
    _text("name", nullable=True),
    _moment("created"),
    _moment("erased", nullable=True),
)

CUSTOMER_EMAIL: Final = Table(
    "customer_email",
    METADATA,
    _text("email", primary_key=True),  # normalised
    _reference("customer_id", "customer.id", index=True),
    _text("written"),  # as the customer or the platform wrote it
    _flag("main"),  # where mails go
    _moment("created"),
    # By what an address begins with. PostgreSQL's key sorts as people do, and cannot find that.
    Index("ix_customer_email_beginning", "email", postgresql_ops={"email": "text_pattern_ops"}),
)

CONNECTION: Final = Table(
    "connection",
    METADATA,
    _id(),
    _text("kind"),  # stripe, shopify, …
    _text("name", unique=True),
    Column("live", Boolean, nullable=False),
    Column("secrets", LargeBinary, nullable=False),  # encrypted: signing secrets and API keys
    Column("options", Json, nullable=False),
    Column("cursor", Json(nullable=True)),  # where reconciliation goes on
    _moment("created"),
    _moment("last_event", nullable=True),
    _moment("last_refused", nullable=True),  # a delivery with a bad signature
    Column("refused", Integer, nullable=False, server_default="0"),
    _text("last_error", nullable=True),
    _flag("mail"),  # whether buyers get a mail once there is something to download
)

MAPPING: Final = Table(
    "mapping",
    METADATA,
    _reference("connection_id", "connection.id", primary_key=True),
    _text("key", primary_key=True),  # price, product, variant, sku, payment_link, metadata
    _text("value", primary_key=True),
    Column("products", Json, nullable=False),  # none: the item is mapped to nothing, and nobody waits for it
    Index(None, "key", "value"),
)

INBOX: Final = Table(
    "inbox",
    METADATA,
    _id(),
    _reference("connection_id", "connection.id"),
    _text("dedupe_key"),
    _text("type"),
    _text("state"),  # received, applied, waiting, ignored, failed
    _text("error", nullable=True),
    _moment("received"),
    _moment("happened", nullable=True),  # as the platform says
    _moment("due", nullable=True),  # when to apply it, for the first time or again; NULL: not any more
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("headers", Json, nullable=False),
    Column("body", LargeBinary, nullable=False),
    UniqueConstraint("connection_id", "dedupe_key"),
    Index(None, "due"),
    Index(None, "connection_id", "state", "id"),
)

INBOX_REFERENCE: Final = Table(
    "inbox_reference",
    METADATA,
    _reference("inbox_id", "inbox.id", primary_key=True),
    _text("kind", primary_key=True),  # which order or customer the event is about: see gateway.orders.facts
    _text("value", primary_key=True),
    Index(None, "kind", "value"),
)

ORDER: Final = Table(
    "order",
    METADATA,
    _id(),
    _text("source"),  # a connection's id, or the word given by PUT
    _text("external_id"),  # the platform's own
    _reference("connection_id", "connection.id", ondelete="SET NULL", nullable=True),
    _reference("customer_id", "customer.id", ondelete="RESTRICT", nullable=True),  # who bought
    _reference("recipient_id", "customer.id", ondelete="RESTRICT", nullable=True),  # who downloads
    _text("customer_told", nullable=True),  # the address by which customer_id was found, normalised
    _text("recipient_told", nullable=True),
    _text("number", nullable=True),
    _text("status"),  # computed from the facts
    _moment("placed"),
    _flag("test"),
    _text("country", nullable=True),
    Column("details", Json, nullable=False),  # what else is shown: amounts, the purchase's address, …
    _moment("created"),
    _moment("updated"),
    _moment("ready", nullable=True),  # when there was something of it to download first
    _moment("erased", nullable=True),  # the person was; the same order sent again brings nobody back
    UniqueConstraint("source", "external_id"),
    Index(None, "customer_id", "placed"),
    Index(None, "recipient_id", "placed"),
    Index(None, "placed", "id"),
    Index(None, "status", "id"),
    Index(None, "status", "placed", "id"),
    Index(None, "number"),
    Index(None, "external_id"),
    Index(None, "id", "recipient_id"),  # who waits for an item, without the rows of the orders
)

ORDER_REFERENCE: Final = Table(
    "order_reference",
    METADATA,
    _text("source", primary_key=True),
    _text("kind", primary_key=True),  # by which facts find the order: see gateway.orders.facts
    _text("value", primary_key=True),
    _text("external_id", primary_key=True),  # of the order, which may come later
    Index(None, "source", "external_id"),
)

FACT: Final = Table(
    "fact",
    METADATA,
    _text("source", primary_key=True),
    _text("fact_key", primary_key=True),  # of several facts with one key, one is kept
    _text("reference_kind"),  # what leads to its orders, which may come later
    _text("reference_value"),
    _moment("as_of"),
    Column("body", Json, nullable=False),
    _moment("received"),
    Index(None, "source", "reference_kind", "reference_value"),
)

ORDER_LINE: Final = Table(
    "order_line",
    METADATA,
    _id(),
    _reference("order_id", "order.id"),
    _text("external_id"),  # the platform's own, or made from the item and its place
    Column("position", Integer, nullable=False),
    _text("item_key", nullable=True),
    _text("item_value", nullable=True),
    _text("title", nullable=True),
    Column("quantity", Integer, nullable=False),
    Column("refunded", Integer, nullable=False, server_default="0"),
    _flag("waits"),  # for a mapping
    _flag("gone"),  # the order has it no more; what it granted is revoked
    _text("source", server_default=text("''")),  # of its order, so that what waits is counted by an index
    UniqueConstraint("order_id", "external_id"),
    Index(
        "ix_order_line_waiting",
        "source",
        "item_key",
        "item_value",
        "order_id",
        sqlite_where=text("waits = 1"),
        postgresql_where=text("waits"),
    ),
    CheckConstraint("quantity >= 0 AND refunded >= 0", name="counts"),
)

LINE_ITEM: Final = Table(
    "line_item",
    METADATA,
    _reference("line_id", "order_line.id", primary_key=True),
    _text("key", primary_key=True),  # every identifier of the item that may be mapped
    _text("value", primary_key=True),
    Index(None, "key", "value"),
)

_UNENFORCED: Final = text("status <> enforced")

ENTITLEMENT: Final = Table(
    "entitlement",
    METADATA,
    _id(),
    _reference("customer_id", "customer.id", ondelete="RESTRICT"),
    _reference("line_id", "order_line.id", ondelete="CASCADE", nullable=True),  # NULL: granted by hand
    _text("product_id"),
    _text("scope"),  # all, version, until
    _text("version", nullable=True),
    _moment("updates_until", nullable=True),
    Column("bought", Integer, nullable=False),
    Column("base", Json, nullable=False),  # status, reasons and quantity without the override
    Column("quantity", Integer, nullable=False),
    _text("status"),  # active, suspended, revoked: computed
    Column("reasons", Json, nullable=False),
    _text("override", nullable=True),  # grant, revoke
    _text("reason", nullable=True),  # why the seller granted or overrode it
    _flag("test"),
    _text("enforced"),  # the status for which Redis was told to end tokens; another one is work to do
    _moment("created"),
    _moment("updated"),
    UniqueConstraint("line_id", "product_id"),
    Index(None, "customer_id", "id"),
    Index(None, "product_id", "id"),
    Index("ix_entitlement_unenforced", "id", sqlite_where=_UNENFORCED, postgresql_where=_UNENFORCED),
    CheckConstraint("quantity >= 0", name="count"),
)

SEAT: Final = Table(
    "seat",
    METADATA,
    _reference("entitlement_id", "entitlement.id", primary_key=True),
    Column("number", Integer, primary_key=True),
    _text("email", nullable=True),  # normalised; whose seat it is
    _text("name", nullable=True),
    _moment("created"),
    Index(None, "email"),
)

LINK: Final = Table(
    "link",
    METADATA,
    Column("token_id", String(32), primary_key=True),
    _reference("entitlement_id", "entitlement.id"),
    _text("version"),
    _moment("created"),
    _moment("expires"),
    _moment("ended", nullable=True),  # when its token was revoked
    Index(None, "entitlement_id", "expires"),
)

# --- Who works here: gateway/users/ ---

USER: Final = Table(
    "user",
    METADATA,
    _id(),
    _text("login", unique=True),  # the name in the form that is compared
    _text("name"),
    _text("role"),  # owner, staff
    _text("password", nullable=True),  # Argon2id, with its salt and parameters; NULL: passkeys only
    _moment("created"),
    _moment("password_changed", nullable=True),
    _moment("seen", nullable=True),  # signed in last
)

PASSKEY: Final = Table(
    "passkey",
    METADATA,
    _text("id", primary_key=True),  # the credential's, in base64url
    _reference("user_id", "user.id", index=True),
    _text("name"),
    Column("public_key", LargeBinary, nullable=False),  # COSE
    Column("sign_count", BigInteger, nullable=False),
    _moment("created"),
    _moment("used", nullable=True),
)

USER_LINK: Final = Table(
    "user_link",
    METADATA,
    Column("hash", String(64), primary_key=True),  # SHA-256 of the secret in the link
    _text("purpose"),  # setup, invite, reset
    _text("role"),
    _reference("user_id", "user.id", nullable=True, index=True),  # whose password a reset link sets
    _text("by"),  # who made it
    _moment("created"),
    _moment("expires"),
)

AUDIT: Final = Table(
    "audit",
    METADATA,
    _id(),
    _moment("at"),
    _text("action"),
    _text("by"),
    Column("what", Json, nullable=False),
)
