"""The account: the address, moving to another one, mails about new versions, and the sessions.

To move, the customer types a code from the former mailbox and one from the new one, so that neither somebody
who has found an open browser nor a typing error takes the purchases away. Who has lost the former mailbox
asks the seller.
"""

from __future__ import annotations

from typing import Final

from aiohttp import web

from gateway.database.types import now
from gateway.errors import Declined
from gateway.mail.news import read_choice
from gateway.orders.customer_store import move_customer
from gateway.orders.email_addresses import AddressError, normalise
from gateway.orders.fact_store import lock_orders
from gateway.orders.purchases import find_holder
from gateway.web.forms import read_form
from gateway.web.portal.browsers import browser_of
from gateway.web.portal.challenges import MOVE
from gateway.web.portal.codes import (
    LIFETIME_MINUTES,
    Asked,
    new_code,
    new_secret,
    read_code,
    read_cookie,
    shown_code,
    write_cookie,
)
from gateway.web.portal.context import PortalContext
from gateway.web.portal.quotas import CODES_OF_ALL, CODES_OF_CLIENT, MOVES_OF_CUSTOMER
from gateway.web.portal.sign_in import ALL, client_of
from gateway.web.portal.visitors import Visitor, begin_session, hash_of_address, signed_in


async def show_account(
    request: web.Request, context: PortalContext, visitor: Visitor, status: int = 200, **said: str
) -> web.StreamResponse:
    """The page of the account. said: what a form that came before has to say."""
    sessions = await context.sessions.list(visitor.session.subject)
    async with context.work.database.reading() as sql:
        _, gets_news = await read_choice(sql, visitor.holder.customer_id)
    shown = [(each, *browser_of(each.agent), each.id == visitor.session.id) for each in sessions]
    return context.pages.respond(
        request,
        "portal/account.html",
        status,
        visitor=visitor,
        sessions=shown,
        gets_news=gets_news,
        fault=said.get("fault", ""),
        email=said.get("email", ""),
    )


async def end_session(request: web.Request, context: PortalContext, visitor: Visitor) -> web.StreamResponse:
    """End one of the sessions, or all others."""
    chosen = (await read_form(request)).text("session")
    subject = visitor.session.subject
    if chosen == "others":
        await context.sessions.end_all(subject, keep=visitor.session.id)
    else:
        await context.sessions.end(subject, chosen)
    return context.pages.redirect("/account" if chosen != visitor.session.id else "/")


async def ask_to_move(request: web.Request, context: PortalContext, visitor: Visitor) -> web.StreamResponse:
    """Send a code to both mailboxes."""
    typed = (await read_form(request)).text("email")
    holder = visitor.holder
    try:
        new = normalise(typed)
    except AddressError:
        return await show_account(request, context, visitor, 422, fault="address", email=typed[:254])
    if new in holder.emails:
        return await show_account(request, context, visitor, 422, fault="same", email=new)
    await context.quotas.take((MOVES_OF_CUSTOMER, holder.customer_id))
    asked, codes = Asked(new_secret(), new), (new_code(), new_code())
    await context.challenges.start(MOVE, _subject(visitor, new), asked.secret, *codes)
    response = context.pages.redirect("/account/move")
    context.moving.set(response, write_cookie(asked), 60 * LIFETIME_MINUTES)
    language = context.pages.language_of(request)
    errand = _send_codes(context, visitor, new, codes, language)
    return await context.errands.run_after(request, response, errand)


async def _send_codes(
    context: PortalContext, visitor: Visitor, new: str, codes: tuple[str, str], language: str
) -> None:
    old = visitor.holder.email
    link = f"{context.work.base_url}{context.pages.prefix}/account/move"
    for address, code in zip((old, new), codes, strict=True):
        await context.work.mailer.send_address_change(
            address,
            old=old,
            new=new,
            link=link,
            code=shown_code(code),
            customer_id=visitor.holder.customer_id,
            minutes=LIFETIME_MINUTES,
            language=language,
        )


def _subject(visitor: Visitor, new: str) -> str:
    """What a move is about: the customer, the address that was proved, and the new one."""
    return f"{visitor.session.subject}.{hash_of_address(new)}"


async def show_move(
    request: web.Request, context: PortalContext, visitor: Visitor, status: int = 200, fault: str = ""
) -> web.StreamResponse:
    """The page where both codes are typed."""
    asked = read_cookie(context.moving.read(request))
    if asked is None:
        return context.pages.redirect("/account")
    return context.pages.respond(
        request,
        "portal/move.html",
        status,
        visitor=visitor,
        new=asked.address,
        fault=fault,
        minutes=LIFETIME_MINUTES,
    )


async def move(request: web.Request, context: PortalContext, visitor: Visitor) -> web.StreamResponse:
    """Move the customer, with everything of theirs, to the address whose code was typed."""
    form = await read_form(request)
    asked = read_cookie(context.moving.read(request))
    if asked is None:
        return context.pages.redirect("/account")
    codes = read_code(form.text("old")), read_code(form.text("new"))
    if not all(codes):
        return await show_move(request, context, visitor, 422, "form")
    await context.quotas.take((CODES_OF_CLIENT, client_of(request, context)), (CODES_OF_ALL, ALL))
    subject, new = _subject(visitor, asked.address), asked.address
    outcome = await context.challenges.attempt(MOVE, subject, asked.secret, *codes)
    if outcome != "met":
        return await show_move(request, context, visitor, 403, outcome)
    old = visitor.holder.email
    async with context.work.database.writing() as sql:
        await lock_orders(sql)
        if await find_holder(sql, visitor.holder.customer_id) != visitor.holder:
            raise Declined("customer_unknown", "the customer was changed meanwhile")
        customer = await move_customer(sql, visitor.holder.customer_id, new, new, now())
    await context.sessions.end_all(visitor.session.subject)
    await context.work.mailer.send_address_changed(
        old=old, new=new, customer_id=customer, language=context.pages.language_of(request)
    )
    response = context.pages.redirect("/account")
    context.moving.remove(response)
    return await begin_session(request, context, response, customer, hash_of_address(new))


SHOW_ACCOUNT: Final = signed_in(show_account)
END_SESSION: Final = signed_in(end_session)
ASK_TO_MOVE: Final = signed_in(ask_to_move)
SHOW_MOVE: Final = signed_in(show_move)
MOVE_TO: Final = signed_in(move)
