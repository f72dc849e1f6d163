"""The platforms' APIs, as small servers on loopback, made from the vendors' documents.

A server has answers by path. An answer is a value, which is sent as JSON, a response of aiohttp, or a
function of the request that gives either; `Turns` has one answer for each request, and the last for ever.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import urlsplit

from aiohttp import web

from gateway.platforms.clients.api import Access, Api, new_session


class Turns(list[Any]):
    """One answer a request."""


@dataclass
class PlatformServer:
    """answers: by path. requests: what was asked. waits: the seconds that the client would have waited."""

    answers: dict[str, Any] = field(default_factory=dict)
    requests: list[web.BaseRequest] = field(default_factory=list)
    waits: list[float] = field(default_factory=list)

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer a request as the table says; 404 for what is not in it."""
        self.requests.append(request)
        found = self.answers.get(request.path)
        if isinstance(found, Turns):
            found = found.pop(0) if len(found) > 1 else found[0]
        if callable(found) and not isinstance(found, web.StreamResponse):
            found = found(request)
        if found is None:
            return web.json_response({"error": "not found"}, status=404)
        return found if isinstance(found, web.StreamResponse) else web.json_response(found)

    async def wait(self, seconds: float) -> None:
        """What the client calls to wait."""
        self.waits.append(seconds)

    @property
    def queries(self) -> list[dict[str, str]]:
        """The query of each request."""
        return [dict(request.query) for request in self.requests]


@asynccontextmanager
async def platform_api(access: Access, answers: dict[str, Any]) -> AsyncIterator[tuple[Api, PlatformServer]]:
    """A server with these answers, and the API of a connection whose address leads to it."""
    server = PlatformServer(dict(answers))
    runner = web.ServerRunner(web.Server(server.answer))
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        port = runner.addresses[0][1]
        path = urlsplit(access.base).path
        there = replace(access, base=f"http://127.0.0.1:{port}{path}")
        async with new_session() as session:
            yield Api(session, there, server.wait), server
    finally:
        await runner.cleanup()


def stripe_list(items: list[dict[str, Any]]) -> Callable[[web.BaseRequest], dict[str, Any]]:
    """A list of Stripe: `limit` items after `starting_after`."""

    def answer(request: web.BaseRequest) -> dict[str, Any]:
        ids = [each["id"] for each in items]
        after = request.query.get("starting_after")
        start = ids.index(after) + 1 if after else 0
        page = items[start : start + int(request.query["limit"])]
        return {"object": "list", "data": page, "has_more": start + len(page) < len(items)}

    return answer


def numbered_list(
    items: list[Any], size: str = "per_page", number: str = "page"
) -> Callable[[web.BaseRequest], list[Any]]:
    """A list of WordPress' REST API: pages that are counted from 1."""

    def answer(request: web.BaseRequest) -> list[Any]:
        count = int(request.query[size])
        start = (int(request.query[number]) - 1) * count
        return items[start : start + count]

    return answer


def paddle_list(items: list[dict[str, Any]]) -> Callable[[web.BaseRequest], dict[str, Any]]:
    """A list of Paddle: `per_page` items after `after`, which is the id of an event."""

    def answer(request: web.BaseRequest) -> dict[str, Any]:
        ids = [each["event_id"] for each in items]
        after = request.query.get("after")
        start = ids.index(after) + 1 if after else 0
        page = items[start : start + int(request.query["per_page"])]
        more = start + len(page) < len(items)
        return {"data": page, "meta": {"pagination": {"per_page": len(page), "has_more": more}}}

    return answer
