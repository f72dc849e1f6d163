"""Who a request of the customer's pages is from.

A session belongs to a customer *and* to the address that was proved to be theirs. Where the customer has been
moved to another address, by themselves or by the seller, or was erased, the sessions of the former address
open nothing any more, without anybody having to find them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from aiohttp import web

from gateway.orders.purchases import Holder, find_holder
from gateway.web.pages import note_begun
from gateway.web.portal.codes import hash_of
from gateway.web.portal.context import PortalContext
from gateway.web.portal.ways_back import lead_to_sign_in
from gateway.web.sessions import Session

_ADDRESS_DIGITS: Final = 32
"""Of the hash of an address."""


@dataclass(frozen=True)
class Visitor:
    """Somebody who has signed in."""

    session: Session
    holder: Holder


Handler = Callable[[web.Request, PortalContext, Visitor], Awaitable[web.StreamResponse]]


def hash_of_address(address: str) -> str:
    """What stands for an address in the store. address: in its normal form."""
    return hash_of("address", address)[:_ADDRESS_DIGITS]


def subject_of(customer: str, address_hash: str) -> str:
    """The subject of the sessions of a customer who has proved an address."""
    return f"{customer}.{address_hash}"


async def find_visitor(request: web.Request, context: PortalContext) -> Visitor | None:
    """Who has signed in; None if nobody has. Raises StoreUnavailable, DatabaseError."""
    session = await context.sessions.find(context.cookie.read(request))
    if session is None:
        return None
    customer, _, address = session.subject.partition(".")
    async with context.work.database.reading() as sql:
        holder = await find_holder(sql, customer)
    if holder is None or address not in map(hash_of_address, holder.emails):
        return None
    return Visitor(session, holder)


def signed_in(handler: Handler) -> Callable[[web.Request, PortalContext], Awaitable[web.StreamResponse]]:
    """Make a page for those who have signed in; others are led to where they can."""

    async def handle(request: web.Request, context: PortalContext) -> web.StreamResponse:
        visitor = await find_visitor(request, context)
        if visitor is None:
            return lead_to_sign_in(request, context)
        note_begun(request)
        return await handler(request, context, visitor)

    return handle


async def begin_session(
    request: web.Request, context: PortalContext, response: web.Response, customer: str, address_hash: str
) -> web.Response:
    """Sign a customer in with the response: by a new session, whatever the browser had before."""
    former = await context.sessions.find(context.cookie.read(request))
    if former is not None:
        await context.sessions.end(former.subject, former.id)
    subject = subject_of(customer, address_hash)
    secret = await context.sessions.make(subject, request.headers.get("User-Agent", ""))
    context.cookie.set(response, secret)
    context.asked.remove(response)
    return response
