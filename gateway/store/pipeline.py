"""The hot path's own connection to Redis. A process has one, which all its requests share.

redis-py costs about 170 µs a call, and a connection for each call under way; the pipeline costs about 10 µs a
call and one connection a worker. The rules:

- Commands are matched to replies by position alone (see pipeline_connection.py).
- A command that is not answered within `timeout` fails with StoreUnavailable. Its late reply goes to
  `Command.on_late_reply`, where a claim is returned.
- Commands are sent only in the state READY (see pipeline_state.py for all states). In every other state a new
  command fails at once, so that a request is refused in microseconds and never waits.
- A command that was certainly not executed, because it was not sent or was answered with an error, fails with
  NotExecuted, so that a command which must not be lost may be sent again.
- The connection is made again whenever it is lost, with a back-off from 20 ms to 0.5 s. Scripts are loaded at
  each connection, and sent again whenever Redis has forgotten them.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import socket
from collections.abc import Callable
from typing import Any, Final

from redis.asyncio.connection import SSLConnection, UnixDomainSocketConnection, parse_url

from gateway.store.commands import Arguments, Command, NotExecuted, ScriptCall, pack
from gateway.store.pipeline_connection import PipelineConnection
from gateway.store.pipeline_state import Event, State, next_state
from gateway.store.scripts import Script

_log = logging.getLogger("gateway")

FIRST_BACKOFF_SECONDS: Final = 0.02
LAST_BACKOFF_SECONDS: Final = 0.5
"""Short enough that a server which is back is used again within a second or so."""
SILENT_AFTER_TIMEOUTS: Final = 4
"""A connection is given up when nothing has arrived for so many time-outs after a command was overdue."""
ASIDE_SECONDS: Final = 60.0
"""How long a connection that was given up is still read."""
CHECKS_PER_TIMEOUT: Final = 8
"""How often the connection is checked within one time-out."""

KEEPALIVE: Final = ((socket.TCP_KEEPIDLE, 30), (socket.TCP_KEEPINTVL, 5), (socket.TCP_KEEPCNT, 3))
"""An idle connection is probed after 30 s, so that no firewall forgets it and a dead one is noticed."""


class Pipeline:
    """A worker's connection to one server, with a bounded queue.

    url: as in the setting `redis_url`. timeout: seconds that a command may take. queue: how many commands may
    wait for their replies at once. scripts: loaded at each connection.
    """

    def __init__(self, url: str, *, timeout: float, queue: int, scripts: tuple[Script, ...] = ()) -> None:
        self._loop = asyncio.get_running_loop()
        self._options = parse_url(url)
        self._timeout = timeout
        self._queue = queue
        self._scripts = scripts
        self._state = State.IDLE
        self._connection: PipelineConnection | None = None
        self._ready_connection: PipelineConnection | None = None
        self._aside: PipelineConnection | None = None
        self._task: asyncio.Task[None] | None = None
        self.on_ready: Callable[[], None] = lambda: None
        """Called when the pipeline becomes READY, and CHECKS_PER_TIMEOUT times a time-out while it is."""

    @property
    def state(self) -> State:
        """What the pipeline does now."""
        return self._state

    @property
    def is_ready(self) -> bool:
        """Whether commands are sent now."""
        return self._state is State.READY

    def start(self) -> None:
        """Begin to connect, and connect again whenever the connection is lost."""
        self._move(Event.START)
        self._task = self._loop.create_task(self._stay_connected())

    async def stop(self) -> None:
        """Wait for the commands that were sent, at most `timeout`; then close the connection."""
        connection = self._connection
        if connection is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._timeout):
                    while connection.waiting:  # noqa: ASYNC110 - happens once, at the end
                        await asyncio.sleep(0.01)
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        self._move(Event.STOP)
        if self._aside is not None:
            self._aside.abort()

    def call(self, *arguments: bytes | str | int) -> Command:
        """Send one command; awaiting it gives the reply, or raises StoreUnavailable."""
        command = Command()
        self.post(command, pack(arguments))
        return command

    def run(self, script: Script, *arguments: bytes | str | int) -> Command:
        """Run a script on one key, which is the first of the arguments."""
        command = ScriptCall(script, *arguments)
        self.post(command, command.packed())
        return command

    def post(self, command: Command, packed: bytes, key: str = "") -> None:  # noqa: ARG002
        """Send a packed command as its caller's own kind of Command.

        `key` is what a Topology routes by; it is not used here, where there is one server.
        """
        command.deadline = self._loop.time() + self._timeout
        connection = self._ready_connection
        if connection is None:
            command.set_exception(NotExecuted("the store is not connected"))
        elif len(connection.waiting) >= self._queue:
            command.set_exception(NotExecuted("too many commands wait for the store"))
        else:
            connection.send(command, packed)

    def _move(self, event: Event) -> None:
        """Change the state. `post` only checks for a ready connection, because that is quickest."""
        self._state = next_state(self._state, event)
        if self._state not in (State.READY, State.STALLED):
            self._connection = None
        self._ready_connection = self._connection if self._state is State.READY else None

    async def _stay_connected(self) -> None:
        backoff = FIRST_BACKOFF_SECONDS
        is_reported = False
        while True:
            connection: PipelineConnection | None = None
            try:
                async with asyncio.timeout(self._timeout):
                    connection = await self._connect()
                    await self._prepare(connection)
            except Exception as error:  # redis-py raises many kinds for wrong options of a rediss:// URL
                if connection is not None:
                    connection.abort()
                if not is_reported:
                    _log.error("the store is away: %s", _describe(error))
                    is_reported = True
                self._move(Event.FAILED)
                await asyncio.sleep(backoff * random.uniform(0.5, 1.0))  # noqa: S311 - spreads reconnects
                self._move(Event.RETRY)
                backoff = min(backoff * 2, LAST_BACKOFF_SECONDS)
                continue
            except asyncio.CancelledError:
                if connection is not None:
                    connection.abort()
                raise
            if is_reported:
                _log.warning("the store is back")
            backoff = FIRST_BACKOFF_SECONDS
            self._connection = connection
            self._move(Event.CONNECTED)
            self.on_ready()
            try:
                end = await self._watch(connection)
            except BaseException:
                connection.abort()
                raise
            self._move(end)
            if end is Event.SILENT:
                self._set_aside(connection)
            else:
                connection.abort()
            _log.error("the connection to the store was lost")
            is_reported = True

    async def _watch(self, connection: PipelineConnection) -> Event:
        """Check the connection and fail overdue commands, until it is LOST or SILENT; which of the two."""
        while not connection.closed.done():
            await asyncio.wait([connection.closed], timeout=self._timeout / CHECKS_PER_TIMEOUT)
            now = self._loop.time()
            connection.expire(now)
            oldest_deadline = connection.waiting[0].deadline if connection.waiting else now + self._timeout
            if oldest_deadline > now:
                if self._state is State.STALLED:
                    self._move(Event.CAUGHT_UP)
                self.on_ready()
                continue
            if self._state is State.READY:
                self._move(Event.OVERDUE)
            silence = now - max(connection.last_received_at, oldest_deadline)
            if silence > SILENT_AFTER_TIMEOUTS * self._timeout:
                return Event.SILENT
        return Event.LOST

    def _set_aside(self, connection: PipelineConnection) -> None:
        """Go on reading a silent connection for a while, beside the new one; see pipeline_state.py."""
        connection.expire(float("inf"))
        if self._aside is not None:
            self._aside.abort()
        self._aside = connection
        self._loop.call_later(ASIDE_SECONDS, connection.abort)

    async def _connect(self) -> PipelineConnection:
        options = self._options
        connection_class = options.get("connection_class")
        if connection_class is UnixDomainSocketConnection:
            _, connection = await self._loop.create_unix_connection(
                lambda: PipelineConnection(self._loop), options["path"]
            )
            return connection
        host, port = options.get("host", "localhost"), options.get("port", 6379)
        context = None
        if connection_class is SSLConnection:
            tls: dict[str, Any] = {name: value for name, value in options.items() if name.startswith("ssl_")}
            context = SSLConnection(**tls).ssl_context.get()
        transport, connection = await self._loop.create_connection(
            lambda: PipelineConnection(self._loop),
            host,
            port,
            ssl=context,
            server_hostname=host if context else None,
        )
        sock = transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in KEEPALIVE:
            sock.setsockopt(socket.IPPROTO_TCP, option, value)
        return connection

    async def _prepare(self, connection: PipelineConnection) -> None:
        """Authenticate, choose the database and load the scripts, in one write."""
        options = self._options
        handshake: list[Arguments] = []
        if "password" in options:
            user = (options["username"],) if options.get("username") else ()
            handshake.append((b"AUTH", *user, options["password"]))
        if options.get("db"):
            handshake.append((b"SELECT", options["db"]))
        handshake.append((b"PING",))
        handshake.extend((b"SCRIPT", b"LOAD", script.text) for script in self._scripts)
        deadline = self._loop.time() + self._timeout
        commands = [Command() for _ in handshake]
        for command, arguments in zip(commands, handshake, strict=True):
            command.deadline = deadline
            connection.send(command, pack(arguments))
        await asyncio.gather(*(command.as_future() for command in commands))


def _describe(error: BaseException) -> str:
    return str(error) or type(error).__name__
