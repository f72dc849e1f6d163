"""The settings about customers' data: the key of secrets at rest, and how long things are kept."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, BeforeValidator

from gateway.config.readers import setting, whole
from gateway.config.secret_keys import check_key

_DAYS = whole(1, 36_500)
"""A hundred years stand for ever."""
KeyText = Annotated[str | None, BeforeValidator(check_key)]


class CustomerDataSettings(BaseModel):
    """A part of `Settings`, which has the rest."""

    secrets_key: KeyText = setting(
        None,
        "The key that encrypts the secrets of connections in the database: 32 bytes as base64 or hex "
        "(`openssl rand -base64 32`), or the path of a file that has them.",
        default_text="secrets.key below `data`, which is made when it is needed",
        repr=False,
    )
    secrets_old_key: KeyText = setting(
        None,
        "The key before that one, in the same form. The web process encrypts again what has it; afterwards "
        "remove this setting.",
        default_text="none",
        repr=False,
    )
    retention_inbox: Annotated[int, _DAYS] = setting(
        90,
        "How long a webhook is kept as it came, to look into it and to replay it. Afterwards its key, type "
        "and state stay. Shops' questions come within three months.",
        unit="days",
    )
    retention_events: Annotated[int, _DAYS] = setting(
        30,
        "How long webhooks are kept that were ignored or failed. It must be longer than platforms send "
        "again, which is a week at most.",
        unit="days",
    )
    retention_audit: Annotated[int, _DAYS] = setting(
        365, "How long it is kept who changed what. A year has every yearly review.", unit="days"
    )
    retention_customers: Annotated[int, _DAYS] = setting(
        90,
        "How long a customer is kept who has no order and no entitlement, for example after an order has "
        "moved to another address.",
        unit="days",
    )
    retention_addresses: Annotated[int, _DAYS] = setting(
        548,
        "How long usage has the addresses of clients as they were, counted from a download's last byte; "
        "afterwards their networks (IPv4 /24, IPv6 /48). Disputes come within 18 months.",
        unit="days",
    )
    retention_networks: Annotated[int, _DAYS] = setting(
        1096,
        "How long usage has the networks and programs of clients; afterwards only the kind of program.",
        unit="days",
    )
    retention_webhooks: Annotated[int, _DAYS] = setting(
        30,
        "How long the log of outgoing webhooks is kept, to look into it and to send again. What waits to be "
        "sent stays.",
        unit="days",
    )
