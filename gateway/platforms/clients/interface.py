"""What every client offers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from gateway.orders.facts import Fact
from gateway.platforms.clients.api import Access, Api
from gateway.platforms.interface import LookUp, Message
from gateway.platforms.reconciliation import Cursor


@dataclass(frozen=True)
class Page:
    """What one page of a run brought.

    messages: in the form of webhooks, for the inbox; what came as a webhook has the same dedupe key where the
    platform's events have ids. next: the next page; None after the last. mark: see `Cursor.mark`.
    """

    messages: tuple[Message, ...]
    next: str | None = None
    mark: str | None = None


@dataclass(frozen=True)
class Client:
    """A platform's API: a row of the table in `registry.py`.

    kind: the platform's. access(key, shop, live, allow_loopback): the API of a connection; shop: the shop's
    address, where the platform has one for each. look_up(api, look_up, now): the facts that an event did not
    have; now: ms. list_changes(api, cursor, now): a page of what changed in the time of the cursor; None
    where the platform has no list. needs_shop: whether the seller must give the shop's address.
    """

    kind: str
    access: Callable[[str, str | None, bool, bool], Access]
    look_up: Callable[[Api, LookUp, int], Awaitable[tuple[Fact, ...]]]
    list_changes: Callable[[Api, Cursor, int], Awaitable[Page]] | None = None
    needs_shop: bool = False


async def nothing_to_look_up(_api: Api, _look_up: LookUp, _now: int) -> tuple[Fact, ...]:
    """For platforms whose events have everything."""
    return ()
