"""Connections of redis-py that refuse replicas: when they connect, and again whenever they are used later.

After a failover the old primary may keep its connections and go on answering reads, which are out of date. So
each connection asks for the server's role before a command, at most twice a second; while it is idle it asks
nothing.

This overrides two methods that redis-py calls in `connect_check_health` and `send_packed_command`;
`tests/store/test_failover.py` shows that they are called.

`ask` sends a batch without redis-py's pipeline object. That one packs each argument in Python, and looks at
metrics that nobody reads: half of the time of a batch.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from typing import Any, Final, TypeAlias

import hiredis
from redis.asyncio.connection import AbstractConnection, Connection, SSLConnection, UnixDomainSocketConnection
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError

from gateway.store.replies import ROLE_QUESTIONS, is_primary

ROLE_SECONDS: Final = 0.5
"""For so long at most a replica's reads are believed."""

Argument: TypeAlias = str | bytes | int
Command: TypeAlias = tuple[Argument, ...]


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


async def ask(connection: AbstractConnection, commands: Sequence[Command]) -> list[Any]:
    """Send commands in one write, and return their replies as the server sends them.

    An error reply is a value: raised, it would contain the arguments of a command. Raises what redis-py does
    where the connection fails; it is closed then, as it is when the caller is cancelled.
    """
    await connection.send_packed_command([b"".join(map(_pack, commands))])
    replies: list[Any] = []
    for _ in commands:
        try:
            replies.append(await connection.read_response())
        except ResponseError as error:
            replies.append(error)
    return replies


def _pack(command: Any) -> bytes:
    packed: bytes
    try:
        packed = hiredis.pack_command(command)
    except UnicodeEncodeError:  # it has bytes that are not UTF-8, in the form that replies have them
        packed = hiredis.pack_command(tuple(map(_encode, command)))
    return packed


def _encode(argument: Argument) -> Any:
    return argument.encode("utf-8", "surrogateescape") if isinstance(argument, str) else argument


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
