"""What every page of the portal is given."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.web.api.context import AdminContext
from gateway.web.pages import Pages
from gateway.web.sessions import Cookie, Sessions


@dataclass(frozen=True)
class PortalContext:
    """work: the parts of the process, such as the database. sessions, cookie: of customers."""

    pages: Pages
    work: AdminContext
    sessions: Sessions
    cookie: Cookie
