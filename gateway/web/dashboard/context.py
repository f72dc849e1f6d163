"""What every page of the dashboard is given."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.web.api.context import AdminContext
from gateway.web.pages import Pages
from gateway.web.sessions import Cookie, Sessions


@dataclass(frozen=True)
class DashboardContext:
    """work: the parts of the process, such as the database. sessions, cookie: of users."""

    pages: Pages
    work: AdminContext
    sessions: Sessions
    cookie: Cookie
