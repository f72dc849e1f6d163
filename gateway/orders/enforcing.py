"""Ending the tokens of entitlements that are not active any more, within a second of the commit.

An entitlement knows its `status`, and the status for which its tokens were last ended, `enforced`. Where the
two differ, there is work: `Enforcer` ends every live token that was made from it, and then writes down that
it did. A crash in between leaves the difference, so the work is done at the next start. Ending a token twice
changes nothing.

A token cannot slip through: minting writes its `link` in a transaction that finds the entitlement active,
makes the token in the store, and looks at the entitlement again before anybody is told the token
(`gateway.orders.minting`).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import Row, select, update

from gateway.database.engine import Database
from gateway.database.errors import DatabaseError
from gateway.database.tables import ENTITLEMENT, LINK
from gateway.database.types import now
from gateway.errors import Declined, StoreUnavailable
from gateway.orders.entitlement_rules import EntitlementStatus
from gateway.orders.fact_store import chunks
from gateway.orders.privacy import ERASED
from gateway.runtime.background import repeat
from gateway.tokens.repository import TokenRepository

AT_ONCE: Final = 200
"""Entitlements that are looked at together: an order of 500 lines takes three transactions, not 500."""

_log = logging.getLogger("gateway.orders")


class Enforcer:
    """Ends tokens, when `wake` is called and now and then."""

    def __init__(self, database: Database, tokens: TokenRepository) -> None:
        self._database = database
        self._tokens = tokens
        self._wakes = asyncio.Event()

    def wake(self) -> None:
        """Look at the tables now: something was committed."""
        self._wakes.set()

    async def run(self) -> None:
        """Work until cancelled."""
        faults = (DatabaseError, StoreUnavailable)
        message = "tokens of revoked entitlements cannot be ended now: %s"
        await repeat(self.enforce, self._wakes, faults, _log, message)

    async def enforce(self) -> bool:
        """End the tokens of some entitlements. Returns whether there may be more.

        Raises DatabaseError, StoreUnavailable.
        """
        async with self._database.reading() as sql:
            rows = list(
                await sql.execute(
                    select(ENTITLEMENT.c.id, ENTITLEMENT.c.status, ENTITLEMENT.c.enforced)
                    .where(ENTITLEMENT.c.status != ENTITLEMENT.c.enforced)
                    .order_by(ENTITLEMENT.c.id)
                    .limit(AT_ONCE)
                )
            )
        if rows:
            await self._enforce(rows)
        return len(rows) == AT_ONCE

    async def _enforce(self, rows: Sequence[Row[Any, Any, Any]]) -> None:
        """End the tokens of these entitlements, and write down that this was done, all together."""
        inactive = [
            row.id for row in rows if row.status != EntitlementStatus.ACTIVE or row.enforced == ERASED
        ]
        ended: list[str] = []
        if inactive:
            async with self._database.reading() as sql:
                live = await sql.execute(
                    select(LINK.c.token_id).where(LINK.c.entitlement_id.in_(inactive), LINK.c.ended.is_(None))
                )
                ended = [token_id for (token_id,) in live]
            for token_id in ended:
                await self._end(token_id)
        moment = now()
        changes: dict[tuple[str, str], list[str]] = {}
        for row in rows:
            changes.setdefault((row.status, row.enforced), []).append(row.id)
        async with self._database.writing() as sql:
            for tokens in chunks(ended):
                await sql.execute(
                    update(LINK)
                    .where(LINK.c.token_id.in_(tokens), LINK.c.ended.is_(None))
                    .values(ended=moment)
                )
            for (status, enforced), entitlements in changes.items():
                await sql.execute(
                    update(ENTITLEMENT)
                    .where(
                        ENTITLEMENT.c.id.in_(entitlements),
                        ENTITLEMENT.c.status == status,
                        ENTITLEMENT.c.enforced == enforced,
                    )
                    .values(enforced=status)
                )

    async def _end(self, token_id: str) -> None:
        with contextlib.suppress(Declined):  # it has expired, or was never told to anybody
            await self._tokens.revoke(token_id)
