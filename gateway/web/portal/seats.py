"""Seats of a purchase: its buyer invites people by their addresses, and takes their places away again."""

from __future__ import annotations

import contextlib
from typing import Final

from aiohttp import web

from gateway.database.types import now
from gateway.errors import Declined
from gateway.orders.customer_store import find_customer
from gateway.orders.email_addresses import AddressError, normalise
from gateway.orders.purchases import find_holder
from gateway.orders.seats import invite_to_seat, links_of_entitlement, remove_seat
from gateway.web.forms import read_form
from gateway.web.portal.context import PortalContext
from gateway.web.portal.purchases import purchase_of, purchase_page
from gateway.web.portal.quotas import SEATS_OF_CUSTOMER
from gateway.web.portal.visitors import Visitor, signed_in
from gateway.web.problems import Problem


async def invite(request: web.Request, context: PortalContext, visitor: Visitor) -> web.StreamResponse:
    """Give a free seat to an address, and tell it by mail."""
    typed = (await read_form(request)).text("email")
    purchase = await purchase_of(request, context, visitor)
    customer = visitor.holder.customer_id
    try:
        email = normalise(typed)
        await context.quotas.take((SEATS_OF_CUSTOMER, customer))
        async with context.work.database.writing() as sql:
            await invite_to_seat(sql, purchase.id, customer, email, now())
            invited = await find_customer(sql, email)
    except AddressError:
        said = {"seat_fault": "address", "seat_email": typed[:254]}
        return await purchase_page(request, context, visitor, purchase, 422, **said)
    except Declined as declined:
        said = {"seat_fault": declined.code, "seat_email": email}
        return await purchase_page(request, context, visitor, purchase, 409, **said)
    link = f"{context.work.base_url}{context.pages.prefix}/"
    language = context.pages.language_of(request)
    await context.work.mailer.send_seat(
        email, product=purchase.title, link=link, customer_id=invited or customer, language=language
    )
    return context.pages.redirect(f"/purchases/{purchase.id}#seats")


async def remove(request: web.Request, context: PortalContext, visitor: Visitor) -> web.StreamResponse:
    """Take a seat away, and end the links that its holder has made."""
    number = (await read_form(request)).text("number")
    purchase = await purchase_of(request, context, visitor)
    if not (number.isascii() and number.isdigit() and len(number) < 10):
        raise Problem("not_found", "There is no such place.")
    moment = now()
    try:
        async with context.work.database.writing() as sql:
            email = await remove_seat(sql, purchase.id, visitor.holder.customer_id, int(number))
            holder = await find_holder(sql, await find_customer(sql, email) or "")
            tokens = await links_of_entitlement(sql, purchase.id, moment)
    except Declined:  # it was taken away already
        return context.pages.redirect(f"/purchases/{purchase.id}#seats")
    emails = {email} if holder is None else {email, *holder.emails}
    for identifier in tokens:
        record = await context.work.store.tokens.get(identifier)
        if record is not None and record.email in emails:
            with contextlib.suppress(Declined):  # it has ended meanwhile
                await context.work.store.tokens.revoke(identifier)
    return context.pages.redirect(f"/purchases/{purchase.id}#seats")


INVITE: Final = signed_in(invite)
REMOVE: Final = signed_in(remove)
