"""The tables of usage: gateway/usage/ says what fills them. See tables.py for the rules of all tables.

Nothing here refers to other tables by a foreign key: what was sent stays known when what was sold is removed.
Moments are ms since 1970 UTC, those inside `attempts` microseconds.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Index,
    Integer,
    LargeBinary,
    String,
    Table,
    Text,
    false,
    text,
)

from gateway.database.metadata import METADATA
from gateway.database.types import Json, Moment

_ALIVE: Final = text("NOT expired")
_OPEN: Final = text("completed IS NULL AND failed IS NULL")
_DIRECT: Final = text("entitlement_id IS NULL")

TOKEN: Final = Table(
    "token",
    METADATA,
    Column("id", String(32), primary_key=True),  # of every token that was known, also after it has expired
    Column("product", Text, nullable=True),
    Column("version", Text, nullable=True),
    Column("entitlement_id", String(26), nullable=True, index=True),
    Column("customer", Text, nullable=True),  # whom to count: a customer's id, or a mark of the address
    Column("email", Text, nullable=True),
    Column("name", Text, nullable=True),
    Column("key", Text, nullable=True),
    Column("max_downloads", BigInteger, nullable=True),
    Column("metadata", Json(nullable=True)),
    Column("test", Boolean, nullable=False, server_default=false()),
    Column("created", Moment, nullable=False),
    Column("expires", Moment, nullable=False),
    Column("expired", Boolean, nullable=False, server_default=false()),  # and it was announced
    Index("ix_token_alive", "expires", sqlite_where=_ALIVE, postgresql_where=_ALIVE),
    Index(None, "expires", "id"),
    Index(None, "product", "expires", "id"),
    Index(None, "email", "expires", "id"),
    Index("ix_token_direct", "email", "created", sqlite_where=_DIRECT, postgresql_where=_DIRECT),
)

USAGE_FILE: Final = Table(
    "usage_file",
    METADATA,
    Column("id", String(26), primary_key=True),  # made from the others: see gateway.usage.repository
    Column("product", Text, nullable=False),
    Column("version", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("sha256", String(64), nullable=False),
    Index(None, "product", "version"),
)

SERIES: Final = Table(
    "series",
    METADATA,
    Column("id", String(26), primary_key=True),  # made from holder and file
    Column("holder", String(32), nullable=False, index=True),  # an entitlement's id, or a token's
    Column("file_id", String(26), nullable=False),
    Column("newest", Integer, nullable=False),  # the number of its newest download
)

TOKEN_SERIES: Final = Table(
    "token_series",
    METADATA,
    Column("token_id", String(32), primary_key=True),
    Column("series_id", String(26), primary_key=True),
)

DOWNLOAD: Final = Table(
    "download",
    METADATA,
    Column("series_id", String(26), primary_key=True),
    Column("number", Integer, primary_key=True),  # from 1, in the order in which they began
    Column("file_id", String(26), nullable=False),
    Column("token_id", String(32), nullable=False),  # of the first attempt
    Column("customer", Text, nullable=True),
    Column("test", Boolean, nullable=False, server_default=false()),
    Column("client", Text, nullable=False),  # the class of the program: gateway.usage.client_classes
    Column("first", Moment, nullable=False),
    Column("last", Moment, nullable=False),
    Column("completed", Moment, nullable=True),
    Column("times", Integer, nullable=False),  # requests that sent bytes
    Column("bytes", BigInteger, nullable=False),
    Column("covered", BigInteger, nullable=False),  # bytes of the file, each counted once
    Column("attempts", Json, nullable=False),
    Column("privacy", Integer, nullable=False, server_default="0"),  # 1: addresses cut short, 2: gone
    Column("failed", Moment, nullable=True),  # when it was found that nothing had been sent for long
    Column("direct", Boolean, nullable=False, server_default=false()),  # by a token of no entitlement
    Index("ix_download_open", "last", sqlite_where=_OPEN, postgresql_where=_OPEN),
    Index(None, "first", "series_id", "number"),
    Index(None, "privacy", "last"),
    Index(None, "customer", "file_id"),
    Index(
        "ix_download_direct",
        "customer",
        "file_id",
        sqlite_where=text("direct = 1"),
        postgresql_where=text("direct"),
    ),
)

USAGE_DAY: Final = Table(
    "usage_day",
    METADATA,
    Column("day", Integer, primary_key=True),  # since 1970 UTC
    Column("product", Text, primary_key=True),
    Column("version", Text, primary_key=True),
    Column("client", Text, primary_key=True),
    Column("outcome", Text, primary_key=True),  # completed, started
    Column("started", BigInteger, nullable=False),
    Column("completed", BigInteger, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Index(None, "product", "day"),
)

USAGE_TOTAL: Final = Table(
    "usage_total",
    METADATA,
    Column("level", Integer, primary_key=True),  # what is not summed up: gateway.usage.day_totals
    Column("day", Integer, primary_key=True),
    Column("product", Text, primary_key=True),  # empty where all are summed up, as in the next ones
    Column("version", Text, primary_key=True),
    Column("client", Text, primary_key=True),
    Column("started", BigInteger, nullable=False),
    Column("completed", BigInteger, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    sqlite_with_rowid=False,  # the rows of a time lie side by side in the key itself
)

USAGE_CUSTOMER: Final = Table(
    "usage_customer",
    METADATA,
    Column("day", Integer, primary_key=True),
    Column("product", Text, primary_key=True),
    Column("version", Text, primary_key=True),
    Column("client", Text, primary_key=True),
    Column("customer", Text, primary_key=True),  # counted over any period: sums of days would count twice
)

USAGE_POSITION: Final = Table(
    "usage_position",
    METADATA,
    Column("worker", String(32), primary_key=True),
    Column("applied", Json, nullable=False),  # spans of the numbers of its events
    Column("updated", Moment, nullable=False, index=True),
)

SIGNING_KEY: Final = Table(
    "signing_key",
    METADATA,
    Column("id", String(43), primary_key=True),  # the key's thumbprint (RFC 7638)
    Column("public", LargeBinary, nullable=False),  # published for ever, so that old receipts can be verified
    Column("private", LargeBinary, nullable=True),  # encrypted; NULL once the key has been replaced
    Column("created", Moment, nullable=False),
    Column("retired", Moment, nullable=True),
)
