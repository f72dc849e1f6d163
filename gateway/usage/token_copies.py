"""Copies tokens from the store into the database, so that they are known when the store has forgotten them.

Minting needs no database, so it cannot write there. It writes the index of tokens (tokens/index.py), which is
in the order of creation: what was added to it since the last look is copied. A look begins OVERLAP_MS before
the newest token that was copied, because several processes write the index at the same time.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from typing import Final

from sqlalchemy import func, select

from gateway.database.engine import Database
from gateway.database.errors import DatabaseError
from gateway.database.usage_tables import TOKEN
from gateway.errors import StoreUnavailable
from gateway.runtime.background import repeat
from gateway.store.client import StoreClient
from gateway.store.key_names import TOKEN_INDEX_KEY, token_key
from gateway.tokens.index import Entry
from gateway.usage.known_tokens import FIELDS, FoundToken, record_tokens

_log = logging.getLogger("gateway.usage")

PAGE: Final = 500
OVERLAP_MS: Final = 5_000
SEEN: Final = 100_000
"""Tokens of the overlap that are remembered as copied: those of five seconds at 20,000 a second."""


class TokenCopies:
    """Copies the tokens of a store into a database."""

    def __init__(self, database: Database, client: StoreClient) -> None:
        self._database = database
        self._client = client
        self._newest: int | None = None  # ms since 1970
        self._seen: OrderedDict[str, None] = OrderedDict()
        self._wakes = asyncio.Event()

    async def run(self) -> None:
        """Work until cancelled."""
        faults = (DatabaseError, StoreUnavailable)
        message = "tokens are not recorded in the database now: %s"
        await repeat(self.copy_some, self._wakes, faults, _log, message)

    async def copy_some(self) -> bool:
        """Copy what has come since the last look. Returns False: there is no more for now.

        Raises DatabaseError, StoreUnavailable.
        """
        if self._newest is None:
            async with self._database.reading() as sql:
                self._newest = await sql.scalar(select(func.max(TOKEN.c.created))) or 0
        start = b"[t" + max(0, self._newest - OVERLAP_MS).to_bytes(6, "big")
        while True:
            page = await self._client.call("ZRANGE", TOKEN_INDEX_KEY, start, b"(u", "BYLEX", "LIMIT", 0, PAGE)
            entries = [Entry.read(text) for text in page]
            await self._copy([entry for entry in entries if entry.identifier not in self._seen])
            if len(entries) < PAGE:
                return False
            start = b"(" + entries[-1].member

    async def _copy(self, entries: list[Entry]) -> None:
        if not entries:
            return
        commands = [("HMGET", token_key(entry.identifier), *FIELDS) for entry in entries]
        replies = await self._client.call_all(*commands)
        tokens = [
            FoundToken(entry.identifier, fields, entry.created, int.from_bytes(entry.member[-6:], "big"))
            for entry, fields in zip(entries, replies, strict=True)
        ]
        async with self._database.writing() as sql:
            await record_tokens(sql, tokens)
        for entry in entries:
            self._seen[entry.identifier] = None
            if len(self._seen) > SEEN:
                self._seen.popitem(last=False)
        self._newest = max(self._newest or 0, entries[-1].created)
