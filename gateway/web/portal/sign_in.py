"""Signing in by mail: a link with a button, or a code that is typed where the mail was asked for.

Every address gets the same answer, at the same time: what depends on the address happens after the answer.
GET and HEAD change nothing, so programs that look at the links of a mail use nothing up. Links are made of
the settings, never of what a request says about its host.
"""

from __future__ import annotations

from typing import Final

from aiohttp import web
from sqlalchemy import select

from gateway.database.tables import STATE
from gateway.database.types import now
from gateway.orders.customer_store import find_customer, keep_customer
from gateway.orders.email_addresses import AddressError, normalise
from gateway.orders.fact_store import lock_orders
from gateway.orders.purchases import find_holder, is_known
from gateway.runtime.peers import PeerName
from gateway.web.forms import read_form
from gateway.web.portal.challenges import SIGN_IN, Challenge, Link
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
from gateway.web.portal.quotas import (
    CODES_OF_ALL,
    CODES_OF_CLIENT,
    MAILS_OF_ADDRESS,
    MAILS_OF_ALL,
    MAILS_OF_CLIENT,
)
from gateway.web.portal.visitors import begin_session, hash_of_address
from gateway.web.portal.ways_back import lead_back
from gateway.web.problems import Problem

ALL: Final = "all"


def show_sign_in(
    request: web.Request,
    context: PortalContext,
    status: int = 200,
    *,
    fault: str = "",
    email: str = "",
    wait: int = 0,
) -> web.Response:
    """The page where an address is typed. fault: what was wrong. wait: minutes until it may be tried."""
    return context.pages.respond(
        request, "portal/sign_in.html", status, fault=fault, email=email, wait=wait, minutes=LIFETIME_MINUTES
    )


async def ask_for_mail(request: web.Request, context: PortalContext) -> web.StreamResponse:
    """Send the mail to the address that was typed, if anything was bought with it."""
    typed = (await read_form(request)).text("email")
    try:
        address = normalise(typed)
    except AddressError:
        return show_sign_in(request, context, 422, fault="address", email=typed[:254])
    # first: whoever waits for a mail must know that none will come, and has not asked in vain. SQLite answers
    # what names no table without a look at its file
    async with context.work.database.reading() as sql:
        await sql.execute(select(STATE.c.name).limit(1))
    quotas = (
        (MAILS_OF_CLIENT, client_of(request, context)),
        (MAILS_OF_ADDRESS, address),
        (MAILS_OF_ALL, ALL),
    )
    try:
        await context.quotas.take(*quotas)
    except Problem as problem:
        minutes = _minutes(problem)
        return show_sign_in(request, context, 429, fault="wait", email=address, wait=minutes)
    asked, code = Asked(new_secret(), address), new_code()
    challenge = await context.challenges.start(SIGN_IN, hash_of_address(address), asked.secret, code)
    response = context.pages.redirect("/code")
    context.asked.set(response, write_cookie(asked), 60 * LIFETIME_MINUTES)
    language = context.pages.language_of(request)
    return await context.errands.run_after(
        request, response, _send_mail(context, challenge, address, code, language)
    )


async def _send_mail(
    context: PortalContext, challenge: Challenge, address: str, code: str, language: str
) -> None:
    """Send the mail, if anybody has bought with the address, or has a seat."""
    async with context.work.database.reading() as sql:
        customer = await find_customer(sql, address)
        has_seat = customer is None and await is_known(sql, address)
    if has_seat:
        async with context.work.database.writing() as sql:
            await lock_orders(sql)
            customer = await keep_customer(sql, address, address, None, now())
    if customer is None:
        return
    secret = new_secret()
    link = f"{context.work.base_url}{context.pages.prefix}/sign-in/{secret}"
    await context.challenges.add_link(challenge, secret, Link(customer, hash_of_address(address)))
    await context.work.mailer.send_sign_in(
        address,
        link,
        shown_code(code),
        minutes=LIFETIME_MINUTES,
        language=language,
        customer_id=customer,
    )


async def show_code(request: web.Request, context: PortalContext) -> web.StreamResponse:
    """The page where the code of the mail is typed."""
    asked = read_cookie(context.asked.read(request))
    if asked is None:
        return context.pages.redirect("/")
    return _show_code(request, context, asked)


def _show_code(
    request: web.Request,
    context: PortalContext,
    asked: Asked,
    status: int = 200,
    *,
    fault: str = "",
    wait: int = 0,
) -> web.Response:
    return context.pages.respond(
        request,
        "portal/code.html",
        status,
        address=asked.address,
        fault=fault,
        wait=wait,
        minutes=LIFETIME_MINUTES,
    )


async def type_code(request: web.Request, context: PortalContext) -> web.StreamResponse:
    """Sign in by the code of the mail, in the browser that asked for it."""
    form = await read_form(request)
    asked = read_cookie(context.asked.read(request))
    if asked is None:
        return show_sign_in(request, context, 403, fault="browser")
    code = read_code(form.text("code"))
    if not code:
        return _show_code(request, context, asked, 422, fault="form")
    try:
        await context.quotas.take((CODES_OF_CLIENT, client_of(request, context)), (CODES_OF_ALL, ALL))
    except Problem as problem:
        minutes = _minutes(problem)
        return _show_code(request, context, asked, 429, fault="wait", wait=minutes)
    async with context.work.database.reading() as sql:  # first, so that a fault uses up no code
        customer = await find_customer(sql, asked.address)
    subject = hash_of_address(asked.address)
    outcome = await context.challenges.attempt(SIGN_IN, subject, asked.secret, code)
    if outcome != "met" or customer is None:  # a customer may have been moved or erased meanwhile
        return _show_code(request, context, asked, 403, fault="gone" if outcome == "met" else outcome)
    return await begin_session(request, context, lead_back(request, context), customer, subject)


async def show_link(request: web.Request, context: PortalContext) -> web.StreamResponse:
    """The page with the button to which the link of a mail leads. It uses nothing up."""
    link = await context.challenges.find_link(request.match_info["secret"])
    return _show_link(request, context, await _address_of(context, link))


def _show_link(request: web.Request, context: PortalContext, address: str | None) -> web.Response:
    return context.pages.respond(
        request,
        "portal/link.html",
        200 if address is not None else 410,
        address=address,
        secret=request.match_info["secret"],
        minutes=LIFETIME_MINUTES,
        fault="",
        email="",
        wait=0,
    )


async def use_link(request: web.Request, context: PortalContext) -> web.StreamResponse:
    """Sign in by the link of a mail, which is used up."""
    secret = request.match_info["secret"]
    address = await _address_of(
        context, await context.challenges.find_link(secret)
    )  # a fault uses up no link
    link = await context.challenges.take_link(secret) if address is not None else None
    if link is None:
        return _show_link(request, context, None)
    return await begin_session(request, context, lead_back(request, context), link.customer, link.address)


async def _address_of(context: PortalContext, link: Link | None) -> str | None:
    """The address that a link signs in, if its customer still has it."""
    if link is None:
        return None
    async with context.work.database.reading() as sql:
        holder = await find_holder(sql, link.customer)
    emails = () if holder is None else holder.emails
    return next((email for email in emails if hash_of_address(email) == link.address), None)


async def sign_out(request: web.Request, context: PortalContext) -> web.StreamResponse:
    """End the session of this browser."""
    session = await context.sessions.find(context.cookie.read(request))
    if session is not None:
        await context.sessions.end(session.subject, session.id)
    response = context.pages.redirect("/")
    context.cookie.remove(response)
    return response


def client_of(request: web.Request, context: PortalContext) -> str:
    """What counts as one client: an IPv4 address or the /64 of an IPv6 address; empty where nobody knows."""
    peer: PeerName | None = getattr(request.protocol, "peer", None)
    return context.proxies.client_group(peer, request.headers)


def _minutes(problem: Problem) -> int:
    """The whole minutes after which it may be tried again."""
    return -(-int(problem.headers["Retry-After"]) // 60)
