"""What every page of the portal is given."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.http.client_address import TrustedProxies
from gateway.web.api.context import AdminContext
from gateway.web.pages import Pages
from gateway.web.portal.challenges import Challenges
from gateway.web.portal.errands import Errands
from gateway.web.quotas import Quotas
from gateway.web.sessions import Cookie, Sessions


@dataclass(frozen=True)
class PortalContext:
    """work: the parts of the process, such as the database. sessions, cookie: of customers.

    asked: the cookie of a browser that has asked for a mail; moving: of one that moves to another address.
    wanted: of one that asked for a page before it was signed in.
    proxies: who may say which client a request is from.
    """

    pages: Pages
    work: AdminContext
    sessions: Sessions
    cookie: Cookie
    asked: Cookie
    moving: Cookie
    wanted: Cookie
    challenges: Challenges
    quotas: Quotas
    errands: Errands
    proxies: TrustedProxies
