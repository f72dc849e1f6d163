"""*Settings, mails*: what was sent to whom, what the mail server said, and sending again. An owner's page."""

from __future__ import annotations

from typing import Final

from aiohttp import web

from gateway.errors import Declined
from gateway.mail.kinds import Kind, State
from gateway.mail.outbox import RESENT, list_mails, resend
from gateway.orders.email_addresses import AddressError, normalise
from gateway.web.auditing import note_change
from gateway.web.dashboard.context import DashboardContext
from gateway.web.dashboard.frame import OWNERS, change, show
from gateway.web.dashboard.listing import read_listing
from gateway.web.problems import Problem
from gateway.web.times import format_time

_ = str

MAILS: Final = "/settings/mails"


async def show_mails(request: web.Request, context: DashboardContext) -> web.StreamResponse:
    """Show the mails, the newest first. Raises DatabaseError."""
    listing = read_listing(request, "recipient", "state", "kind")
    given = listing.filters
    async with context.work.database.reading() as sql:
        rows = await list_mails(
            sql,
            state=given["state"] if given["state"] in {*State} else None,
            kind=given["kind"] if given["kind"] in {*Kind} else None,
            recipient=_address(given["recipient"]) if given["recipient"] else None,
            before=listing.after or None,
            limit=listing.limit,
        )
    listing = listing.with_rows(rows, lambda row: row.id)
    if listing.wants_csv:
        columns = ("time", "kind", "recipient", "state", "attempts", "code", "error")
        cells = (
            (format_time(row.created), row.kind, row.recipient, row.state, row.attempts, row.code, row.error)
            for row in listing.rows
        )
        return context.csv("mails", columns, cells)
    return await context.show(request, "dashboard/mails.html", listing=listing, resent=RESENT)


def _address(text: str) -> str:
    """An address in the form that is searched for; what is none is searched for as it is."""
    try:
        return normalise(text)
    except AddressError:
        return text


async def send_again(request: web.Request, context: DashboardContext) -> web.StreamResponse:
    """Send a mail once more, or try one that waits at once. Raises Problem, DatabaseError."""
    try:
        async with context.work.database.writing() as sql:
            identifier = await resend(sql, request.match_info["mail"])
    except Declined as refusal:
        if refusal.code == "mail_unknown":
            raise Problem("not_found", "There is no such mail.") from None
        text = _("Its link is gone; whoever needs it asks for another mail.")
        return await context.go(request, MAILS, text, "warn")
    note_change(request, mail=identifier)
    return await context.go(request, MAILS, _("The mail is on its way."))


MAIL_SCREENS: Final = (
    show(MAILS, show_mails, OWNERS),
    show("/settings/mails.csv", show_mails, OWNERS),
    change("/settings/mails/{mail}/resend", send_again, OWNERS, audit="mail.resend"),
)
