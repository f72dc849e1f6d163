"""Erasing a customer everywhere: the store, the inbox, the tables, and mails that wait.

The order of the steps: first what needs the person's addresses to be found, then the one transaction that
forgets them, then what was made in between. When a step fails, the addresses are still known, and whoever
asked asks again. What is left in files afterwards is cleaned by `gateway.orders.cleaning`.
"""

from __future__ import annotations

import asyncio
import contextlib
import email
import email.policy
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from sqlalchemy import func, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.database.engine import Database
from gateway.database.tables import CUSTOMER_EMAIL, ENTITLEMENT, INBOX, LINK, ORDER
from gateway.database.types import now
from gateway.errors import Declined
from gateway.orders.cleaning import ask_to_clean
from gateway.orders.customer_store import get_customer
from gateway.orders.fact_store import customer_reference, facts_of, lock_orders
from gateway.orders.facts import CustomerFact, OrderSnapshot
from gateway.orders.privacy import erase_customer, references_of_order
from gateway.orders.traces import ERASED, Traces
from gateway.orders.usage_traces import erase_usage
from gateway.tokens.erasing import blank_changes, end_tokens_of
from gateway.tokens.repositories import Repositories

MAIL_FOLDER: Final = "mail"
"""Below `data`: mails that are written to files."""
AT_ONCE: Final = 100
"""Events of the inbox that are looked through together: some 5 ms of work."""


@dataclass
class _Person:
    """What is known of a customer. Sets of texts."""

    addresses: set[str] = field(default_factory=set)
    names: set[str] = field(default_factory=set)
    ids: set[str] = field(default_factory=set)

    def add(self, address: str | None, name: str | None) -> None:
        self.addresses |= {address} if address else set()
        self.names |= {name} if name else set()

    @property
    def traces(self) -> Traces:
        return Traces(self.addresses, self.names, self.ids)


async def erase(database: Database, store: Repositories, data: Path, identifier: str) -> None:
    """Erase a customer. data: the folder of the setting.

    Raises Declined (customer_unknown), DatabaseError, StoreUnavailable. It may be repeated.
    """
    async with database.reading() as sql:
        person = await _find(sql, identifier)
        tokens = await _tokens(sql, identifier)
    traces = person.traces
    await end_tokens_of(store, traces.addresses, tokens)
    await blank_changes(store, traces.are_in, ERASED)
    events, last = await _events_that_mention(database, traces, "")
    await asyncio.to_thread(erase_mails, data / MAIL_FOLDER, traces)
    async with database.writing() as sql:
        await lock_orders(sql)
        await erase_customer(sql, identifier, now(), traces, events)
        await erase_usage(sql, identifier, traces)
        tokens = await _tokens(sql, identifier)
        await ask_to_clean(sql)
    await end_tokens_of(store, traces.addresses, tokens)
    late, _ = await _events_that_mention(database, traces, last)
    async with database.writing() as sql:
        if late:
            await erase_customer(sql, identifier, now(), traces, late)
        await erase_usage(sql, identifier, traces)  # tokens that were copied meanwhile
        await ask_to_clean(sql)
    await asyncio.to_thread(erase_mails, data / MAIL_FOLDER, traces)  # and mails that were written


async def _find(sql: AsyncConnection, identifier: str) -> _Person:
    customer = await get_customer(sql, identifier)
    if customer is None:
        raise Declined("customer_unknown", "There is no such customer.")
    person = _Person()
    person.add(customer.email, customer.name)
    rows = await sql.execute(
        select(CUSTOMER_EMAIL.c.email, CUSTOMER_EMAIL.c.written).where(
            CUSTOMER_EMAIL.c.customer_id == identifier
        )
    )
    person.addresses |= {address for row in rows for address in row}
    theirs = or_(ORDER.c.customer_id == identifier, ORDER.c.recipient_id == identifier)
    for order in (await sql.execute(select(ORDER).where(theirs, ORDER.c.erased.is_(None)))).all():
        references = await references_of_order(sql, order.source, order.external_id)
        bought, receives = order.customer_id == identifier, order.recipient_id == identifier
        person.add(order.customer_told if bought else None, None)
        person.add(order.recipient_told if receives else None, None)
        for part in await facts_of(sql, order.source, references):
            if isinstance(part, CustomerFact) and bought:
                person.add(part.email, part.name)
                person.ids.add(part.platform_id)
            elif isinstance(part, OrderSnapshot) and part.order_id == order.external_id:
                told = ([part.customer] if bought else []) + (list(part.recipients) if receives else [])
                for each in told:
                    person.add(each.email, each.name)
        leads = references if bought else [each for each in references if each.kind != _CUSTOMER]
        person.ids |= {each.value for each in leads}
    return person


_CUSTOMER: Final = customer_reference("").kind


async def _tokens(sql: AsyncConnection, identifier: str) -> list[str]:
    """The ids of the tokens that were made from a customer's entitlements and may live."""
    rows = await sql.execute(
        select(LINK.c.token_id)
        .join(ENTITLEMENT, ENTITLEMENT.c.id == LINK.c.entitlement_id)
        .where(ENTITLEMENT.c.customer_id == identifier, LINK.c.expires > now())
    )
    return [token_id for (token_id,) in rows]


async def _events_that_mention(database: Database, traces: Traces, after: str) -> tuple[list[str], str]:
    """Look through the inbox. after: the id where to begin. Returns ids of events, and the last one seen."""
    found: list[str] = []
    while True:
        query = select(INBOX.c.id, INBOX.c.body).where(INBOX.c.id > after, func.length(INBOX.c.body) > 0)
        async with database.reading() as sql:
            rows = (await sql.execute(query.order_by(INBOX.c.id).limit(AT_ONCE))).all()
        found += [row.id for row in rows if traces.are_in(row.body)]
        if not rows:
            return found, after
        after = rows[-1].id


def erase_mails(folder: Path, traces: Traces) -> int:
    """Delete the mails in files that are to the person, or mention them. Returns how many there were."""
    erased = 0
    try:
        files: Iterable[os.DirEntry[str]] = list(os.scandir(folder))
    except FileNotFoundError:
        return 0
    for file in files:
        with contextlib.suppress(FileNotFoundError):  # somebody else has removed it meanwhile
            if file.is_file(follow_symlinks=False) and _mail_mentions(Path(file.path), traces):
                os.unlink(file.path)
                erased += 1
    return erased


def _mail_mentions(path: Path, traces: Traces) -> bool:
    content = path.read_bytes()
    if traces.are_in(content):
        return True
    message = email.message_from_bytes(content, policy=email.policy.default)
    texts = [str(value) for value in message.values()]
    for part in message.walk():
        if part.get_content_maintype() == "text":
            payload = part.get_payload(decode=True)
            texts.append(payload.decode("utf-8", "replace") if isinstance(payload, bytes) else "")
    return any(traces.are_in(text) for text in texts)
