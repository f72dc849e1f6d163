"""Where somebody goes on after signing in: to the page that they asked for before.

The page is kept in a cookie of the browser, because the way leads through a mail. It is one of ours, it is
opened by GET, and what it shows depends on who has signed in, as everywhere.
"""

from __future__ import annotations

import re
from typing import Final

from aiohttp import web

from gateway.web.portal.codes import LIFETIME_MINUTES
from gateway.web.portal.context import PortalContext

_PATH: Final = re.compile(r"/(?:purchases|orders|account)(?:[/?][!-~]{0,300})?", re.ASCII)
"""Pages that are worth going back to. None of it can be another site."""


def lead_to_sign_in(request: web.Request, context: PortalContext) -> web.Response:
    """Send somebody to the sign-in, and remember the page that was asked for."""
    response = context.pages.redirect("/")
    asked = request.rel_url.raw_path_qs.removeprefix(context.pages.prefix)
    if request.method == "GET" and _PATH.fullmatch(asked):
        context.wanted.set(response, asked, 60 * LIFETIME_MINUTES)
    return response


def lead_back(request: web.BaseRequest, context: PortalContext) -> web.Response:
    """Send somebody who has signed in to the page that was asked for before, or to the first one."""
    wanted = context.wanted.read(request)
    if not _PATH.fullmatch(wanted):
        return context.pages.redirect("/")
    response = context.pages.redirect(wanted)
    context.wanted.remove(response)
    return response
