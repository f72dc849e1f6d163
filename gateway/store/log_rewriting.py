"""Writing the store's log (its append-only file) anew, because it still has what was deleted.

A rewrite that was under way already may have begun before the deletion, so its end is waited for first. A
server without a log, or one that others run and that forbids the command, is left as it is.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

from gateway.errors import StoreUnavailable
from gateway.store.client import StoreClient

WAIT_SECONDS: Final = 25.0
"""How long all of it may take: an embedded store of 100,000 tokens needs less than a second."""
LOOK_SECONDS: Final = 0.05


async def rewrite_log(client: StoreClient) -> None:
    """Rewrite the log of every server, and wait for it. Raises StoreUnavailable."""
    try:
        async with asyncio.timeout(WAIT_SECONDS):
            if not any(_field(each, "aof_enabled") == "1" for each in await _states(client)):
                return
            await _wait_until_idle(client)
            replies = [reply for [reply] in await client.try_each(("BGREWRITEAOF",))]
            if any(reply is not None and reply.code != "NOPERM" for reply in replies):
                raise StoreUnavailable("the store cannot write its log anew now")
            await _wait_until_idle(client)
            if any(_field(each, "aof_last_bgrewrite_status") == "err" for each in await _states(client)):
                raise StoreUnavailable("the store could not write its log anew; see that its disk has room")
    except TimeoutError:
        raise StoreUnavailable("the store takes too long to write its log anew") from None


async def _states(client: StoreClient) -> list[Any]:
    """What each server says of its files; nothing where we may not ask."""
    try:
        return await client.call_every("INFO", "persistence")
    except StoreUnavailable as error:
        if not error.reason.startswith("NOPERM"):
            raise
        return []


def _field(reply: Any, name: str) -> str:
    """A field of the reply to INFO, which is a text, or what a client made of it."""
    if isinstance(reply, dict):
        return str(reply.get(name, ""))
    for line in str(reply).splitlines():
        key, _, value = line.partition(":")
        if key == name:
            return value
    return ""


async def _wait_until_idle(client: StoreClient) -> None:
    names = ("aof_rewrite_in_progress", "aof_rewrite_scheduled")
    while True:
        states = await _states(client)
        if not any(_field(each, name) == "1" for each in states for name in names):
            return
        await asyncio.sleep(LOOK_SECONDS)
