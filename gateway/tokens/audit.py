"""The audit trail: who changed what and when, and who was refused. It never holds a token or an API key.

    {"time": …, "level": "info", "logger": "gateway.audit", "event": "change", "action": "token.revoke",
     "by": "0123456789abcdef", "what": {"token": "…"}}
    {…, "level": "warning", "event": "refused", "status": 403, "code": "forbidden", "by": "0123456789abcdef",
     "client": "10.0.0.7", "method": "GET", "path": "/api/products", "unreported": 0}

`by` is the id of an API key (`key list` shows its name), the name of a user of the dashboard, "cli" for a
command, and null for a caller whose key is unknown. Each service writes its lines to the log, whatever
`log_level` is. Commands write none, nor does `up` of what it publishes itself: they print for a person what
they have done. All changes but the links that a mint key makes are also kept in the store, for all machines
together, the last KEPT of them: a link has its key's id in its own record, and thousands of links would soon
push out everything else.

Strangers can cause any number of 401s, so the lines about refusals have a budget (runtime/line_budget.py).
The next line says how many were left out.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from time import monotonic
from typing import Any, Final, NamedTuple

from gateway.errors import StoreUnavailable
from gateway.runtime.line_budget import LineBudget
from gateway.runtime.log import log_event
from gateway.store.client import StoreClient
from gateway.store.key_names import AUDIT_KEY

KEPT: Final = 10_000
"""Changes kept in the store, some 2 MB."""
MAX_PATH: Final = 200
"""Characters of a URL's path in a line."""

_log = logging.getLogger("gateway.audit")
_log.setLevel(logging.INFO)


SCANNED: Final = 1000
"""Changes that are read at once while some are searched for."""
_POSITION: Final = re.compile(r"[0-9]{1,20}-[0-9]{1,20}", re.ASCII)


class Change(NamedTuple):
    """One change. time: ms since 1970 UTC by the store's clock. what: names and values, all text.

    id: its place in the trail.
    """

    time: int
    action: str
    by: str
    what: dict[str, str]
    id: str = ""


class AuditTrail:
    """Records changes. One for each client of the store."""

    def __init__(self, client: StoreClient) -> None:
        self._client = client

    def write(self, by: str, action: str, what: Mapping[str, str]) -> None:
        """Write the line of a change that is not kept in the store. what: as for `record`."""
        log_event(_log, "change", {"action": action, "by": by, "what": what})

    async def record(self, by: str, action: str, what: Mapping[str, object], *, write: bool = True) -> None:
        """Record a change that has been made. It never fails: a fault of the store is logged.

        write: to the log. what: the ids of what was changed, and what it was changed to. None is left out.
        """
        given = {name: str(value) for name, value in what.items() if value is not None}
        if write:
            self.write(by, action, given)
        fields = [text for pair in given.items() for text in pair]
        try:
            await self._client.call(
                "XADD", AUDIT_KEY, "MAXLEN", "~", KEPT, "*", "action", action, "by", by, *fields
            )
        except StoreUnavailable as error:
            _log.warning("a change is not in the store's audit trail: %s", error)

    async def latest(self, limit: int) -> list[Change]:
        """The latest changes that are kept, the newest first. Raises StoreUnavailable."""
        entries = await self._client.call("XREVRANGE", AUDIT_KEY, "+", "-", "COUNT", limit)
        return [_read(*entry) for entry in entries]

    async def search(self, limit: int, *, before: str = "", action: str = "", by: str = "") -> list[Change]:
        """The latest changes that are kept and fit, the newest first. Raises StoreUnavailable.

        before: the id of a change; those before it. action: the beginning of an action's name, such as
        `product`. by: a part of who made it.
        """
        end = f"({before}" if _POSITION.fullmatch(before) else "+"
        found: list[Change] = []
        while len(found) < limit:
            entries = await self._client.call("XREVRANGE", AUDIT_KEY, end, "-", "COUNT", SCANNED)
            changes = [_read(*entry) for entry in entries]
            found += [
                each
                for each in changes
                if each.action.startswith(action) and by.casefold() in each.by.casefold()
            ]
            if len(entries) < SCANNED:
                break
            end = f"({changes[-1].id}"
        return found[:limit]


def _read(identifier: str, given: Any) -> Change:
    fields = dict(given)
    moment = int(identifier.partition("-")[0])
    return Change(moment, fields.pop("action", ""), fields.pop("by", ""), fields, identifier)


class RefusalLog:
    """Writes a line for each 401 and 403 of a service, within a budget of lines."""

    def __init__(self) -> None:
        self._budget = LineBudget()

    def write(self, status: int, code: str, by: str | None, **request: Any) -> None:
        """Write the line of a refusal, unless there were too many. request: what else it says."""
        omitted = self._budget.take(monotonic())
        if omitted is not None:
            facts = {"status": status, "code": code, "by": by, **request, "unreported": omitted}
            _log.warning("refused", extra=facts)
