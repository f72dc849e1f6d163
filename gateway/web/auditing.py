"""The audit lines of requests: one for each change, and one for each 401 and 403 (gateway.tokens.audit)."""

from __future__ import annotations

from typing import Final

from aiohttp import web

from gateway.tokens.audit import MAX_PATH, AuditTrail, RefusalLog
from gateway.web.authentication import caller_of
from gateway.web.problems import Problem

CHANGED: Final = web.RequestKey("changed", dict[str, object])
"""Where a request keeps what its handler says of the change."""
_REFUSED: Final = (401, 403)
_refusals = RefusalLog()  # one a process: services of one process share its bounds


def note_change(request: web.BaseRequest, **what: str | int | None) -> None:
    """Add to the audit line of a request what it changed: ids and values, never a secret or an address."""
    request[CHANGED] = {**request.get(CHANGED, {}), **what}


async def record_change(request: web.BaseRequest, trail: AuditTrail, action: str) -> None:
    """Write the audit line of a request that has made a change."""
    await trail.record(caller_of(request) or "", action, request.get(CHANGED, {}))


def write_refusal(request: web.BaseRequest, problem: Problem) -> None:
    """Write the audit line of a refusal, if it is a 401 or a 403."""
    if problem.status in _REFUSED:
        _refusals.write(
            problem.status,
            problem.code,
            caller_of(request),
            client=request.remote or "",
            method=request.method[:MAX_PATH],
            path=request.rel_url.raw_path[:MAX_PATH],
        )
