"""Opens a connection of the pipeline: connect, authenticate, look at the server's role, load the scripts."""

from __future__ import annotations

import asyncio
import random
import socket
from collections.abc import Mapping
from typing import Any, Final

from redis.asyncio.connection import SSLConnection, UnixDomainSocketConnection

from gateway.store.commands import Arguments, Command, NotExecuted, pack
from gateway.store.key_names import PROBE_KEY
from gateway.store.pipeline_connection import PipelineConnection
from gateway.store.primary_watch import RoleQuestion
from gateway.store.replies import ROLE_QUESTIONS, Consequence, ErrorReply, is_primary
from gateway.store.scripts import PROBE, Script

FIRST_BACKOFF_SECONDS: Final = 0.02
LAST_BACKOFF_SECONDS: Final = 0.5
"""Short enough that a server which is back is used again within a second or so."""

KEEPALIVE: Final = ((socket.TCP_KEEPIDLE, 30), (socket.TCP_KEEPINTVL, 5), (socket.TCP_KEEPCNT, 3))
"""An idle connection is probed after 30 s, so that no firewall forgets it and a dead one is noticed."""


class BackOff:
    """The pauses between attempts: each twice as long as the last one, and a part of it at random."""

    def __init__(self) -> None:
        self._seconds = FIRST_BACKOFF_SECONDS

    async def pause(self) -> None:
        """Wait for the next pause."""
        seconds = self._seconds
        self._seconds = min(seconds * 2, LAST_BACKOFF_SECONDS)
        await asyncio.sleep(seconds * random.uniform(0.5, 1.0))  # noqa: S311 - spreads reconnects

    def reset(self) -> None:
        """Begin with the shortest pause again."""
        self._seconds = FIRST_BACKOFF_SECONDS


def server_address(options: Mapping[str, Any]) -> str:
    """The server as a log names it. options: as redis-py reads a URL."""
    return str(options.get("path") or f"{options.get('host', 'localhost')}:{options.get('port', 6379)}")


async def connect(loop: asyncio.AbstractEventLoop, options: Mapping[str, Any]) -> PipelineConnection:
    """Connect, over TCP, TLS or a unix socket. The server's name is looked up each time."""
    connection_class = options.get("connection_class")
    if connection_class is UnixDomainSocketConnection:
        _, connection = await loop.create_unix_connection(lambda: PipelineConnection(loop), options["path"])
        return connection
    host, port = options.get("host", "localhost"), options.get("port", 6379)
    context = None
    if connection_class is SSLConnection:
        tls: dict[str, Any] = {name: value for name, value in options.items() if name.startswith("ssl_")}
        context = SSLConnection(**tls).ssl_context.get()
    transport, connection = await loop.create_connection(
        lambda: PipelineConnection(loop), host, port, ssl=context, server_hostname=host if context else None
    )
    sock = transport.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in KEEPALIVE:
        sock.setsockopt(socket.IPPROTO_TCP, option, value)
    return connection


async def prepare(
    connection: PipelineConnection, options: Mapping[str, Any], scripts: tuple[Script, ...], deadline: float
) -> int:
    """Authenticate, choose the database, ask for the role and load the scripts, in one write.

    Returns the index of the one of ROLE_QUESTIONS that was answered. Raises NotExecuted, with a reply
    READONLY when the server is a replica, or StoreUnavailable.
    """
    handshake: list[Arguments] = []
    if "password" in options:
        user = (options["username"],) if options.get("username") else ()
        handshake.append((b"AUTH", *user, options["password"]))
    if options.get("db"):
        handshake.append((b"SELECT", options["db"]))
    handshake.append((b"PING",))
    answers = [_ask(connection, Command(), arguments, deadline) for arguments in handshake]
    role = _ask(connection, RoleQuestion(), ROLE_QUESTIONS[0], deadline)
    answers += [
        _ask(connection, Command(), (b"SCRIPT", b"LOAD", script.text), deadline) for script in scripts
    ]
    await asyncio.gather(*answers[: len(handshake)])
    for number in range(len(ROLE_QUESTIONS)):
        try:
            is_ours = is_primary(await role)
        except NotExecuted:
            is_ours = None  # it is not allowed, or the server does not know it
        if is_ours is False:
            raise NotExecuted("the server is a replica", _REPLICA)
        if is_ours or number + 1 == len(ROLE_QUESTIONS):
            break
        role = _ask(connection, RoleQuestion(), ROLE_QUESTIONS[number + 1], deadline)
    await asyncio.gather(*answers)
    if is_ours:
        return number
    await _try_to_write(connection, deadline)
    return len(ROLE_QUESTIONS)


async def _try_to_write(connection: PipelineConnection, deadline: float) -> None:
    """Find out in another way whether this is a replica. Any other fault is reported by the PrimaryWatch."""
    try:
        await _ask(connection, RoleQuestion(), (b"EVAL", PROBE.text, b"1", PROBE_KEY), deadline)
    except NotExecuted as error:
        if error.reply is not None and error.reply.meaning.consequence is Consequence.RECONNECT:
            raise


_REPLICA: Final = ErrorReply("READONLY", "READONLY, the server is a replica; its name is looked up again")


def _ask(
    connection: PipelineConnection, command: Command, arguments: Arguments, deadline: float
) -> asyncio.Future[Any]:
    command.deadline = deadline
    connection.send(command, pack(arguments))
    future = command.as_future()
    future.add_done_callback(_retrieve)  # after the first failure nobody awaits the others
    return future


def _retrieve(future: asyncio.Future[Any]) -> None:
    if not future.cancelled():
        future.exception()
