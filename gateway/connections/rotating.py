"""At the start of the web process: secrets get the key of now, and a wrong key is told in one line."""

from __future__ import annotations

import asyncio
import logging
from typing import Final, Protocol

from gateway.connections.sealing import SealError
from gateway.errors import DatabaseError

RETRY_SECONDS: Final = 5.0
NAMED: Final = 5
"""Connections that the line names."""

_log = logging.getLogger("gateway.connections")


class Sealed(Protocol):
    """What keeps sealed secrets."""

    async def seal_anew(self) -> tuple[int, dict[str, SealError]]:
        """Seal with the key of now what has an older one: how many it was, and what cannot be opened."""
        ...


async def seal_anew(kept: Sealed, noun: str = "connections") -> None:
    """Seal what has an older key, once the database is there, and log what was found. noun: what has them."""
    while True:
        try:
            sealed, failed = await kept.seal_anew()
            break
        except DatabaseError:  # others tell of it
            await asyncio.sleep(RETRY_SECONDS)
    if sealed:
        _log.info("secrets of %d %s were encrypted again, with the key of now", sealed, noun)
    if failed:
        names = ", ".join(sorted(failed)[:NAMED]) + (", …" if len(failed) > NAMED else "")
        _log.error(
            "secrets of %d %s cannot be read (%s): %s",
            len(failed),
            noun,
            names,
            next(iter(failed.values())),
        )
