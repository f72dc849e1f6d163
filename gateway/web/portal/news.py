"""Mails about new versions: ended by the link in their foot, without signing in, and switched in the account.

`gateway.mail.news` has the table of cases.
"""

from __future__ import annotations

from typing import Final

from aiohttp import web

from gateway.database.types import now
from gateway.mail.news import choose, find_by_secret
from gateway.web.forms import read_form
from gateway.web.portal.context import PortalContext
from gateway.web.portal.visitors import Visitor, signed_in

LINKS: Final = "/news/"
"""What the paths of links begin with. RFC 8058 has mail programs send to them from anywhere."""


async def show_link(request: web.Request, context: PortalContext) -> web.StreamResponse:
    """The page with the button to which the link of a mail leads. It changes nothing."""
    async with context.work.database.reading() as sql:
        found = await find_by_secret(sql, request.match_info["secret"])
    return _show(request, context, None if found is None else found[1])


async def use_link(request: web.Request, context: PortalContext) -> web.StreamResponse:
    """End the mails. The body is not looked at: a form of ours has none, and RFC 8058's says nothing else."""
    async with context.work.database.writing() as sql:
        found = await find_by_secret(sql, request.match_info["secret"])
        if found is not None:
            await choose(sql, found[0], wanted=False, moment=now())
    return _show(request, context, None if found is None else False)


def _show(request: web.Request, context: PortalContext, wanted: bool | None) -> web.Response:
    """wanted: None for a link that is nobody's."""
    return context.pages.respond(
        request,
        "portal/news.html",
        404 if wanted is None else 200,
        wanted=wanted,
        secret=request.match_info["secret"],
    )


async def choose_news(request: web.Request, context: PortalContext, visitor: Visitor) -> web.StreamResponse:
    """Switch the mails on or off."""
    wanted = (await read_form(request)).text("news") == "on"
    async with context.work.database.writing() as sql:
        await choose(sql, visitor.holder.customer_id, wanted=wanted, moment=now())
    return context.pages.redirect("/account")


CHOOSE_NEWS: Final = signed_in(choose_news)
