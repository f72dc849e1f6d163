"""The admin listener, in the supervisor: /healthz and /metrics of everything it keeps running.

It answers while workers are busy, restarting or draining. Nothing here knows a token, a key or a customer.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from aiohttp import web

from gateway.counters import Totals, render
from gateway.sockets import Listener

METRICS_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


@dataclass(frozen=True)
class Health:
    """How the gateway is: `state` is ok, degraded or draining; a row of `children` is one slot."""

    state: str
    children: Sequence[dict[str, Any]]
    store: dict[str, Any] | None
    """The embedded store; None when the settings name another."""


Look = Callable[[], Awaitable[Health]]


class Admin:
    """The admin service on one listener."""

    def __init__(self, listener: Listener, look: Look, totals: Totals) -> None:
        self._look = look
        self._totals = totals
        self._listener = listener
        application = web.Application()
        application.router.add_get("/healthz", self._answer_health)
        application.router.add_get("/metrics", self._answer_metrics)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=1.0)

    async def start(self) -> None:
        """Answer from now on."""
        await self._runner.setup()
        await web.SockSite(self._runner, self._listener.sockets[0]).start()

    async def stop(self) -> None:
        """Answer no longer."""
        await self._runner.cleanup()

    async def _answer_health(self, _: web.Request) -> web.Response:
        health = await self._look()
        plain = {"status": health.state, "children": list(health.children), "store": health.store}
        return web.json_response(plain, status=200 if health.state == "ok" else 503)

    async def _answer_metrics(self, _: web.Request) -> web.Response:
        lines = [*render(self._totals.values()), *_render_health(await self._look())]
        return web.Response(body="\n".join(lines).encode() + b"\n", headers={"Content-Type": METRICS_TYPE})


def _render_health(health: Health) -> Iterator[str]:
    roles = [(child["name"].partition(" ")[0], child) for child in health.children]
    up = Counter(role for role, child in roles if child["state"] == "running")
    restarts: Counter[str] = Counter()
    for role, child in roles:
        restarts[role] += child["restarts"]
    if health.store is not None:
        up["store"] = int(health.store["state"] == "ready")
        restarts["store"] = health.store["restarts"]
    yield "# HELP gateway_children_up Processes that work now."
    yield "# TYPE gateway_children_up gauge"
    for role in restarts:
        yield f'gateway_children_up{{role="{role}"}} {up[role]}'
    yield "# HELP gateway_restarts_total Processes that ended unexpectedly and were started again."
    yield "# TYPE gateway_restarts_total counter"
    for role, count in restarts.items():
        yield f'gateway_restarts_total{{role="{role}"}} {count}'
