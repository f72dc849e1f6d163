"""The tables of mails: what is to be sent, what was, and which new versions customers are told of.

A mail that waits names its customer by id, and the address is looked up when it is sent. So nobody's address
is here before, an erased customer's mails go with the customer, and one who has moved gets them. Mails to
somebody who is no customer yet, or with a secret in them, have `recipient` from the beginning, and what they
say is encrypted (`sealed`). It is removed once they are sent.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import Column, ForeignKey, Index, Integer, LargeBinary, String, Table, Text

from gateway.database.metadata import METADATA
from gateway.database.types import Json, Moment

OUTBOX_MAIL: Final = Table(
    "outbox_mail",
    METADATA,
    Column("id", String(26), primary_key=True),
    Column("kind", Text, nullable=False),  # see gateway/mail/kinds.py
    Column("priority", Integer, nullable=False),  # the smallest goes first
    Column("state", Text, nullable=False),  # waiting, sent, failed, dropped
    Column("dedupe_key", Text, unique=True, nullable=True),  # of what is told once only
    Column(
        "customer_id",
        ForeignKey("customer.id", ondelete="CASCADE"),
        nullable=True,
        index=True,
    ),
    Column("recipient", Text, nullable=True),  # normalised
    Column("language", Text, nullable=True),  # NULL: found when it is sent
    Column("about", Json, nullable=False),  # ids of what it tells of
    Column("sealed", LargeBinary, nullable=True),  # what is secret of it, until it is sent
    Column("created", Moment, nullable=False),
    Column("due", Moment, nullable=True),  # when to try, for the first time or again; NULL: not any more
    Column("expires", Moment, nullable=True),  # when it is of no use any more
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("tried", Moment, nullable=True),  # the last time
    Column("code", Integer, nullable=True),  # the mail server's last answer
    Column("error", Text, nullable=True),
    Index(None, "state", "priority", "due"),
    Index(None, "recipient", "created"),
    Index(None, "tried"),
    Index(None, "created"),
)

NEWS: Final = Table(
    "news",
    METADATA,
    Column("customer_id", ForeignKey("customer.id", ondelete="CASCADE"), primary_key=True),
    Column("secret", Text, nullable=False, unique=True),  # of the link that ends mails about new versions
    Column("declined", Moment, nullable=True),  # since when the customer wants none
)

ANNOUNCEMENT: Final = Table(
    "announcement",
    METADATA,
    Column("product", Text, primary_key=True),
    Column("version", Text, primary_key=True),  # customers are told of it once, whatever is done again
    Column("created", Moment, nullable=False),
    Column("last_customer", Text, nullable=False),  # all up to this id have their mail in the outbox
    Column("mails", Integer, nullable=False, server_default="0"),
    Column("finished", Moment, nullable=True),
)
