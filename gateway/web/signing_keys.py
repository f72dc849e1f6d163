"""The keys that receipts are signed with, in the database.

1. There is one current key. It is made when it is needed first, and all processes that share the database
   share it.
2. The private key is encrypted as secrets of connections are (`gateway.connections.sealing`), so a copy of
   the database alone signs nothing. A backup has both the row and the key that opens it.
3. A key that is replaced loses its private part and stays published, so that old receipts can be verified.
4. Where nothing opens the current key, because the key of the secrets was lost, another one takes its place.
"""

from __future__ import annotations

import asyncio
import base64
import logging
import time
from typing import Any, Final

from sqlalchemy import select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.connections.sealing import SealError, SecretBox
from gateway.database.engine import Database
from gateway.database.statements import insert
from gateway.database.types import now
from gateway.database.usage_tables import SIGNING_KEY
from gateway.errors import DatabaseError
from gateway.usage import jws

_LOCK: Final = 0x646772 << 32
"""The number of PostgreSQL's advisory lock of whoever makes a key."""
FRESH_SECONDS: Final = 1.0
"""How long published keys are answered from memory: strangers ask for them as often as they like."""
AWAY_SECONDS: Final = 1.0
"""How long nobody asks a database again that was away: else everybody would wait for all before them."""

_log = logging.getLogger("gateway.web")


class SigningKeys:
    """Makes, replaces and publishes the keys. For one event loop."""

    def __init__(self, database: Database, box: SecretBox) -> None:
        self._database = database
        self._box = box
        self._published: tuple[float, dict[str, bytes]] | None = None
        self._away = (0.0, DatabaseError("unreachable", ""))
        self._reading = asyncio.Lock()

    async def sign(self, payload: bytes) -> str:
        """Sign bytes with the current key. Raises DatabaseError, SealError (which is one)."""
        return jws.sign(payload, await self.current())

    async def current(self) -> bytes:
        """The current private key, which is made if there is none. Raises DatabaseError, SealError."""
        async with self._database.reading() as sql:
            row = await _newest(sql)
        private = self._open(row)
        if private is not None and self._box.is_current(row.private, row.id):
            return private
        return await self._replace(always=False)

    async def rotate(self) -> str:
        """Replace the current key. Returns the id of the new one. Raises DatabaseError, SealError."""
        return jws.thumbprint(jws.public_of(await self._replace(always=True)))

    async def published(self) -> dict[str, bytes]:
        """All public keys by their ids, the newest first; one is made if there is none. Raises DatabaseError.

        A key that another process has made is there after FRESH_SECONDS. While the database is away, those
        that were read last are published: they are what verifies receipts that exist.
        """
        async with self._reading:
            known, moment = self._published, time.monotonic()
            if known is not None and moment < known[0]:
                return known[1]
            if moment < self._away[0]:
                raise self._away[1]
            try:
                found = await self._read()
                if not found:
                    await self.current()
                    found = await self._read()
            except DatabaseError as error:
                again = time.monotonic() + AWAY_SECONDS
                if known is None:
                    self._away = (again, DatabaseError(error.kind, str(error)))
                    raise
                self._published = (again, known[1])
                return known[1]
            self._published = (time.monotonic() + FRESH_SECONDS, found)
            return found

    async def _read(self) -> dict[str, bytes]:
        query = select(SIGNING_KEY.c.id, SIGNING_KEY.c.public).order_by(
            SIGNING_KEY.c.created.desc(), SIGNING_KEY.c.id
        )
        async with self._database.reading() as sql:
            return {row.id: bytes(row.public) for row in await sql.execute(query)}

    def _open(self, row: Any) -> bytes | None:
        if row is None:
            return None
        try:
            return base64.b64decode(self._box.open(bytes(row.private), row.id)["private"])
        except SealError:
            _log.error(
                "the key of receipts %s cannot be opened with the key of the secrets, so another one is "
                "made; receipts that it signed can still be verified",
                row.id,
            )
            return None

    async def _replace(self, *, always: bool) -> bytes:
        """Make the current key, or another one, or encrypt it anew. always: although there is one."""
        async with self._database.writing() as sql:
            if sql.dialect.name == "postgresql":
                await sql.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": _LOCK})
            row = await _newest(sql)
            private = None if always else self._open(row)
            if private is None:
                private = await self._make(sql)
            elif not self._box.is_current(row.private, row.id):
                sealed = self._seal(private, row.id)
                await sql.execute(
                    update(SIGNING_KEY).where(SIGNING_KEY.c.id == row.id).values(private=sealed)
                )
        self._published = None
        return private

    async def _make(self, sql: AsyncConnection) -> bytes:
        private = jws.new_private()
        public = jws.public_of(private)
        name, moment = jws.thumbprint(public), now()
        old = SIGNING_KEY.c.private.is_not(None)
        await sql.execute(update(SIGNING_KEY).where(old).values(private=None, retired=moment))
        await sql.execute(
            insert(sql, SIGNING_KEY).values(
                id=name, public=public, private=self._seal(private, name), created=moment
            )
        )
        return private

    def _seal(self, private: bytes, name: str) -> bytes:
        return self._box.seal({"private": base64.b64encode(private).decode()}, name)


async def _newest(sql: AsyncConnection) -> Any:
    """The row of the current key; None: there is none."""
    query = select(SIGNING_KEY).where(SIGNING_KEY.c.private.is_not(None))
    return (await sql.execute(query.order_by(SIGNING_KEY.c.created.desc()).limit(1))).first()
