"""Connections of redis-py that refuse replicas: when they connect, and again whenever they are used later.

After a failover the old primary may keep its connections and go on answering reads, which are out of date. So
each connection asks for the server's role before a command, at most twice a second; while it is idle it asks
nothing.

This overrides two methods that redis-py calls in `connect_check_health` and `send_packed_command`;
`tests/store/test_failover.py` shows that they are called.
"""

from __future__ import annotations

import asyncio
import math
from typing import Any, Final

from redis.asyncio.connection import AbstractConnection, Connection, SSLConnection, UnixDomainSocketConnection
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError

from gateway.store.replies import ROLE_QUESTIONS, is_primary

ROLE_SECONDS: Final = 0.5
"""For so long at most a replica's reads are believed."""


class NotPrimary(RedisConnectionError):
    """The server is a replica."""


class _OnlyPrimary(AbstractConnection):
    _role_due = math.inf
    _question = 0

    async def on_connect_check_health(self, check_health: bool = True) -> None:
        """Authenticate and choose the database, and then look at the role."""
        self._role_due = math.inf  # what is sent now may be answered later
        self._question = 0
        await super().on_connect_check_health(check_health)
        await self._check_role()

    async def check_health(self) -> None:
        """Look at the role again, if that is due. Called before each command."""
        if asyncio.get_running_loop().time() >= self._role_due:
            await self._check_role()

    async def _check_role(self) -> None:
        while self._question < len(ROLE_QUESTIONS):
            await self.send_command(*ROLE_QUESTIONS[self._question], check_health=False)
            try:
                is_ours = is_primary(await self.read_response())
            except ResponseError:
                is_ours = None  # it is not allowed, or the server does not know it
            if is_ours is False:
                await self.disconnect(nowait=True)
                raise NotPrimary("the server is a replica")
            if is_ours:
                break
            self._question += 1
        self._role_due = asyncio.get_running_loop().time() + ROLE_SECONDS


class _TCPConnection(_OnlyPrimary, Connection):
    pass


class _TLSConnection(_OnlyPrimary, SSLConnection):
    pass


class _UnixConnection(_OnlyPrimary, UnixDomainSocketConnection):
    pass


ONLY_PRIMARY: Final[dict[Any, Any]] = {
    Connection: _TCPConnection,
    SSLConnection: _TLSConnection,
    UnixDomainSocketConnection: _UnixConnection,
}
"""redis-py's kinds of connections, and ours instead of them."""
