"""Who has made a request to the dashboard."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from aiohttp import web

from gateway.users.repository import User
from gateway.web.authentication import CALLER
from gateway.web.sessions import Session


@dataclass(frozen=True)
class Visitor:
    """Who is signed in, and by which session."""

    user: User
    session: Session

    @property
    def is_owner(self) -> bool:
        """Whether the user may do everything."""
        return self.user.is_owner


_VISITOR: Final = web.RequestKey("visitor", Visitor)


def visitor_of(request: web.BaseRequest) -> Visitor:
    """Who has made the request. Only in handlers of rows that are not OPEN."""
    return request[_VISITOR]


def note_visitor(request: web.BaseRequest, visitor: Visitor) -> None:
    """Say who has made a request: to its handler, and to the audit trail."""
    request[_VISITOR] = visitor
    request[CALLER] = visitor.user.name


def find_visitor(request: web.BaseRequest) -> Visitor | None:
    """Who has made the request, if anybody is signed in."""
    return request.get(_VISITOR)
