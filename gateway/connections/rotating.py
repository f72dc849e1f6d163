"""At the start of the web process: secrets get the key of now, and a wrong key is told in one line."""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from gateway.connections.repository import ConnectionRepository
from gateway.errors import DatabaseError

RETRY_SECONDS: Final = 5.0
NAMED: Final = 5
"""Connections that the line names."""

_log = logging.getLogger("gateway.connections")


async def seal_anew(connections: ConnectionRepository) -> None:
    """Seal what has an older key, once the database is there, and log what was found."""
    while True:
        try:
            sealed, failed = await connections.seal_anew()
            break
        except DatabaseError:  # others tell of it
            await asyncio.sleep(RETRY_SECONDS)
    if sealed:
        _log.info("secrets of %d connections were encrypted again, with the key of now", sealed)
    if failed:
        names = ", ".join(sorted(failed)[:NAMED]) + (", …" if len(failed) > NAMED else "")
        _log.error(
            "secrets of %d connections cannot be read (%s): %s",
            len(failed),
            names,
            next(iter(failed.values())),
        )
