"""`/hooks/…` as an application that the `web` process mounts at PREFIX. It is public: workers pass it on.

The answer is what the platform wants to hear. A delivery that cannot be committed is 503, so that it comes
again; what is refused is a bare status, because nobody reads more.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from typing import Final

from aiohttp import web

from gateway.connections.receiving import REFUSED, Receiver
from gateway.platforms.interface import MAX_BODY, Message
from gateway.tokens.repositories import Repositories
from gateway.web.application import ANSWER_SECONDS, make_application
from gateway.web.attempts import ClientAttempts
from gateway.web.bodies import read_body
from gateway.web.routes import Route

PREFIX: Final = "/hooks"


@dataclass(frozen=True)
class HooksContext:
    """What the handlers are given."""

    store: Repositories
    receiver: Receiver
    attempts: ClientAttempts
    """Counts deliveries with a wrong signature, for each connection and address."""


async def receive(request: web.Request, context: HooksContext) -> web.Response:
    """Take a delivery. Raises Problem, DatabaseError, SealError."""
    connection = request.match_info["connectionId"]
    context.attempts.check(request, scope=connection)
    body = await read_body(request, MAX_BODY)
    headers = tuple(
        (name.decode("ascii", "replace").lower(), value.decode("utf-8", "surrogateescape"))
        for name, value in request.raw_headers
    )
    received = time.time_ns() // 1_000_000
    message = Message(headers, body, received, request.match_info.get("secret"))
    answer = await context.receiver.receive(connection, message)
    if answer is REFUSED:
        context.attempts.refuse(request, scope=connection)
    return web.Response(status=answer.status, text=answer.text, headers={"Cache-Control": "no-store"})


def _route(path: str, operation: str) -> Route[HooksContext]:
    return Route("POST", path, receive, operation, "Take a webhook", None, roles=None, any_query=True)


ROUTES: Final = (
    _route("/{connectionId}", "receiveWebhook"),
    _route("/{connectionId}/{secret}", "receiveSecretWebhook"),
)


def make_hooks(context: HooksContext, logger: logging.Logger) -> web.Application:
    """Make the application. Its URLs begin with a slash; PREFIX goes before them."""
    return make_application(
        ROUTES, context, logger, not_found="There is no such connection.", patience=ANSWER_SECONDS
    )
