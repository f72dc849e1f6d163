"""The tables of outgoing webhooks: gateway/webhooks/. See tables.py for the rules of all tables."""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    String,
    Table,
    Text,
    UniqueConstraint,
)

from gateway.database.metadata import METADATA
from gateway.database.types import Json, Moment

WEBHOOK: Final = Table(
    "webhook",
    METADATA,
    Column("id", String(26), primary_key=True),
    Column("url", Text, nullable=False),
    Column("name", Text, nullable=True),
    Column("types", Json, nullable=False),  # of events that it gets; none: all
    Column("secrets", LargeBinary, nullable=False),  # encrypted: each with the moment of its end
    Column("created", Moment, nullable=False),
    Column("paused_until", Moment, nullable=True),  # as the receiver asked for
    Column("failures", Integer, nullable=False, server_default="0"),  # attempts in a row
    Column("failing_since", Moment, nullable=True),
    Column("last_success", Moment, nullable=True),
    Column("last_failure", Moment, nullable=True),
    Column("last_error", Text, nullable=True),
    Column("disabled", Moment, nullable=True),
    Column("disabled_reason", Text, nullable=True),
)

WEBHOOK_EVENT: Final = Table(
    "webhook_event",
    METADATA,
    Column("id", String(26), primary_key=True),
    Column("key", Text, nullable=True, unique=True),  # of several announcements with one key, one is kept
    Column("type", Text, nullable=False),
    Column("happened", Moment, nullable=False),
    Column("data", Json, nullable=False),
    Column("customer", Text, nullable=True, index=True),  # whom it mentions: an id, or a mark of the address
    Column("created", Moment, nullable=False, index=True),
)

OUTBOX_WEBHOOK: Final = Table(
    "outbox_webhook",
    METADATA,
    Column("id", String(26), primary_key=True),
    # no foreign key: removing an endpoint must never make a transaction fail in which something happened
    Column("webhook_id", String(26), nullable=False),
    Column("event_id", ForeignKey("webhook_event.id", ondelete="CASCADE"), nullable=False),
    Column("state", Text, nullable=False),  # waiting, delivered, failed
    Column("due", Moment, nullable=True),  # when to send it, for the first time or again; NULL: not any more
    Column("claim", String(26), nullable=True),  # of the process that sends it now
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("tries", Json, nullable=False),  # the latest: [moment, status, milliseconds, what was wrong]
    UniqueConstraint("event_id", "webhook_id"),
    Index(None, "webhook_id", "due"),
    Index(None, "webhook_id", "state", "id"),
    Index(None, "webhook_id", "id"),
)
