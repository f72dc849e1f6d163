"""The hot path's own connection to Redis: many requests, one connection, few writes a loop turn.

redis-py costs about 170 µs a call and a connection for each call under way; this costs about 10 µs and
one connection a worker. The rules it keeps:

- Redis answers in the order it was asked, so replies are matched to commands by position alone. A
  command stays in its place until its reply has come, whether or not anyone still waits for it.
- A command that is not answered within `timeout` fails with StoreUnavailable; its late reply goes to
  `Command.on_late_reply`, where a claim is given back.
- While the oldest command is overdue, or there is no connection, new commands fail at once: a request
  is refused in microseconds, never held.
- A command that was certainly not executed (not sent, or answered with an error) fails with NotExecuted, so
  that one which must not be lost may be asked again.
- Once connected again (back-off from 20 ms to 0.5 s) everything works again; scripts are loaded at each
  connection and again whenever Redis has forgotten them.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import socket
from collections import deque
from collections.abc import Callable
from itertools import takewhile
from typing import Any, Final, cast

import hiredis
from redis.asyncio.connection import SSLConnection, UnixDomainSocketConnection, parse_url

from gateway.errors import StoreUnavailable
from gateway.runtime.deferred import Deferred
from gateway.store.scripts import Script

_log = logging.getLogger("gateway")

FIRST_BACKOFF_SECONDS: Final = 0.02
LAST_BACKOFF_SECONDS: Final = 0.5
"""Short enough that a store which is back is used again within a second or so."""
DEAD_AFTER_TIMEOUTS: Final = 4
"""A connection on which nothing came for this many time-outs, though something is owed, is given up."""

EARLY_COMMANDS: Final = 8
"""As many leave before the turn ends, so that Redis works while the rest of the turn is read: 74,000 small
downloads/s instead of 63,000, at the same CPU time each."""

ASIDE_SECONDS: Final = 60.0
"""How long a connection that was given up is still read."""
WATCHES: Final = 8
"""How often in the time of one time-out the connection is looked at."""

KEEPALIVE: Final = ((socket.TCP_KEEPIDLE, 30), (socket.TCP_KEEPINTVL, 5), (socket.TCP_KEEPCNT, 3))
"""An idle connection is asked for after 30 s, so that no firewall forgets it and a dead one is noticed."""

# Replies of a server that is there but cannot serve: the store's fault, never the customer's.
_UNABLE: Final = (
    "LOADING",
    "READONLY",
    "MASTERDOWN",
    "OOM",
    "MISCONF",
    "NOAUTH",
    "NOPERM",
    "CLUSTERDOWN",
    "BUSY",
)


class NotExecuted(StoreUnavailable):
    """The store has certainly not carried the command out: it was not sent, or the answer was an error."""


Arguments = tuple[bytes | str | int, ...]


def pack(arguments: Arguments) -> bytes:
    """A command as Redis reads it (RESP2 array of bulk strings)."""
    return hiredis.pack_command(arguments)  # type: ignore[no-any-return, arg-type]


class Command(Deferred[Any]):
    """One command on its way. deadline: when it is overdue, in the loop's seconds; the pipeline sets it."""

    deadline = 0.0

    def with_script_text(self) -> bytes | None:
        """The same with its script's text, for a store that has forgotten it; None: no script."""
        return None

    def on_late_reply(self, reply: Any) -> None:
        """Hear a reply that came after the command had failed; an error is not told."""


class ScriptCall(Command):
    """A script run by its hash, on one key: the first of the arguments."""

    def __init__(self, script: Script, *arguments: bytes | str | int) -> None:
        self._script = script
        self._keyed = (b"1", *arguments)

    def packed(self) -> bytes:
        """The command as it is sent first."""
        return pack((b"EVALSHA", self._script.sha, *self._keyed))

    def with_script_text(self) -> bytes:
        """With the script's text."""
        return pack((b"EVAL", self._script.text, *self._keyed))


class PipelineConnection(asyncio.Protocol):
    """One connection: a loop turn's commands leave in few writes, replies are matched in order."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._reader = hiredis.Reader()
        self._outgoing: list[bytes] = []
        self._transport: asyncio.Transport | None = None
        self.waiting: deque[Command] = deque()
        self.heard_at = loop.time()
        self.closed: asyncio.Future[None] = loop.create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(0)  # uvloop then writes at once, not when the turn ends

    def data_received(self, data: bytes) -> None:
        self.heard_at = self._loop.time()
        self._reader.feed(data)
        try:
            while (reply := self._reader.gets()) is not False:
                self._match(self.waiting.popleft(), reply)
        except (hiredis.ProtocolError, IndexError):  # not a Redis, or more replies than questions
            _log.error("the store sent what is not a reply: is redis_url right?")
            self.abort()

    def _match(self, command: Command, reply: Any) -> None:
        failed = isinstance(reply, hiredis.ReplyError)
        if command.done:  # it was overdue, and its request has been refused
            if not failed:
                command.on_late_reply(reply)
        elif not failed:
            command.set_result(reply)
        elif (
            str(reply).startswith("NOSCRIPT") and (with_script_text := command.with_script_text()) is not None
        ):
            self.send(
                command, with_script_text
            )  # Redis has forgotten its scripts: restarted empty, or SCRIPT FLUSH
        else:
            command.set_exception(_translate(reply))

    def send(self, command: Command, packed: bytes) -> None:
        """Queue a command; it leaves when this loop turn ends, or with EARLY_COMMANDS others before."""
        if self._transport is None or self.closed.done():
            command.set_exception(NotExecuted("the store is not connected"))
            return
        if not self._outgoing:
            self._loop.call_soon(self._flush)
        self._outgoing.append(packed)
        self.waiting.append(command)
        if len(self._outgoing) == EARLY_COMMANDS:
            self._flush()

    def _flush(self) -> None:
        if self._outgoing and self._transport is not None and not self.closed.done():
            self._transport.write(b"".join(self._outgoing))
        self._outgoing.clear()

    def expire(self, now: float) -> None:
        """Fail every command that is overdue; it keeps its place until its reply comes."""
        overdue = list(takewhile(lambda command: command.deadline <= now, self.waiting))
        for command in overdue:  # a copy: whoever hears of it may ask something else at once
            command.set_exception(StoreUnavailable("the store did not answer in time"))

    def abort(self) -> None:
        """Close the connection at once; every waiting command fails."""
        if self._transport is not None:
            self._transport.abort()

    def connection_lost(self, exc: BaseException | None) -> None:  # noqa: ARG002
        if not self.closed.done():
            self.closed.set_result(None)
        self._transport = None
        while self.waiting:
            self.waiting.popleft().set_exception(StoreUnavailable("the connection to the store was lost"))


class Pipeline:
    """A worker's one connection to the store, kept up, with a bounded queue.

    url: as in the setting `redis_url`. timeout: seconds a command may take. queue: commands that may
    wait for their replies at once. scripts: loaded at each connection.
    """

    def __init__(self, url: str, *, timeout: float, queue: int, scripts: tuple[Script, ...] = ()) -> None:
        self._loop = asyncio.get_running_loop()
        self._where = parse_url(url)
        self._timeout = timeout
        self._queue = queue
        self._scripts = scripts
        self._link: PipelineConnection | None = None
        self._stalled = False
        self._aside: PipelineConnection | None = None
        self._keeper: asyncio.Task[None] | None = None
        self.on_ready: Callable[[], None] = lambda: None
        """Called when the connection is ready to serve, and WATCHES times a time-out while it is."""

    @property
    def ready(self) -> bool:
        """Connected, scripts loaded, no command overdue."""
        return self._link is not None and not self._stalled

    def start(self) -> None:
        """Begin to connect, and to connect again whenever the connection is lost."""
        self._keeper = self._loop.create_task(self._keep())

    async def stop(self) -> None:
        """Wait for what was asked, at most as long as a command may take; then close the connection."""
        link = self._link
        if link is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._timeout):
                    while link.waiting:  # noqa: ASYNC110 - happens once, at the end
                        await asyncio.sleep(0.01)
        if self._keeper is not None:
            self._keeper.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._keeper
        if self._aside is not None:
            self._aside.abort()

    def call(self, *arguments: bytes | str | int) -> Command:
        """Send one command; awaiting it gives the reply, or raises StoreUnavailable."""
        return self.send(pack(arguments))

    def run(self, script: Script, *arguments: bytes | str | int) -> Command:
        """Run a script on one key, the first of the arguments."""
        command = ScriptCall(script, *arguments)
        self.post(command, command.packed())
        return command

    def send(self, packed: bytes, key: str = "") -> Command:
        """Send a command that is packed already. `key`: see `post`."""
        command = Command()
        self.post(command, packed, key)
        return command

    def post(self, command: Command, packed: bytes, key: str = "") -> None:  # noqa: ARG002
        """Send a packed command as its caller's own kind of Command.

        `key` is what a Topology routes by; it is not used here, where there is one server.
        """
        command.deadline = self._loop.time() + self._timeout
        link = self._link
        if link is None or self._stalled:
            command.set_exception(NotExecuted("the store is not connected"))
        elif len(link.waiting) >= self._queue:
            command.set_exception(NotExecuted("too many commands wait for the store"))
        else:
            link.send(command, packed)

    async def _keep(self) -> None:
        backoff = FIRST_BACKOFF_SECONDS
        reported = False
        while True:
            link: PipelineConnection | None = None
            try:
                async with asyncio.timeout(self._timeout):
                    link = await self._connect()
                    await self._greet(link)
            except Exception as error:  # also what redis-py makes of wrong options of a rediss:// URL
                if link is not None:
                    link.abort()
                if not reported:
                    _log.error("the store is away: %s", _describe(error))
                    reported = True
                await asyncio.sleep(backoff * random.uniform(0.5, 1.0))  # noqa: S311 - spreads reconnects
                backoff = min(backoff * 2, LAST_BACKOFF_SECONDS)
                continue
            except asyncio.CancelledError:
                if link is not None:
                    link.abort()
                raise
            if reported:
                _log.warning("the store is back")
            backoff, reported = FIRST_BACKOFF_SECONDS, False
            self._link, self._stalled = link, False
            self.on_ready()
            silent = False
            try:
                silent = await self._watch(link)
            finally:
                self._link = None
                if silent:
                    self._set_aside(link)
                else:
                    link.abort()
            _log.error("the connection to the store was lost")
            reported = True

    def _set_aside(self, link: PipelineConnection) -> None:
        """Keep a silent link open for a while, beside the new one.

        A store that was frozen carries out what it was sent, and its late replies say which claims to return.
        """
        link.expire(float("inf"))
        if self._aside is not None:
            self._aside.abort()
        self._aside = link
        self._loop.call_later(ASIDE_SECONDS, link.abort)

    async def _watch(self, link: PipelineConnection) -> bool:
        """Until the link closes (False) or has been silent too long (True); fail what is overdue."""
        while not link.closed.done():
            await asyncio.wait([link.closed], timeout=self._timeout / WATCHES)
            now = self._loop.time()
            link.expire(now)
            overdue = bool(link.waiting) and link.waiting[0].deadline <= now
            self._stalled = overdue
            if not overdue:
                self.on_ready()
            if (
                overdue
                and now - max(link.heard_at, link.waiting[0].deadline) > DEAD_AFTER_TIMEOUTS * self._timeout
            ):
                return True
        return False

    async def _connect(self) -> PipelineConnection:
        where = self._where
        connection_class = where.get("connection_class")
        if connection_class is UnixDomainSocketConnection:
            _, link = await self._loop.create_unix_connection(
                lambda: PipelineConnection(self._loop), where["path"]
            )
            return link
        host, port = where.get("host", "localhost"), where.get("port", 6379)
        context = None
        if connection_class is SSLConnection:
            options: dict[str, Any] = {
                name: value for name, value in where.items() if name.startswith("ssl_")
            }
            context = SSLConnection(**options).ssl_context.get()
        transport, link = await self._loop.create_connection(
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
        return link

    async def _greet(self, link: PipelineConnection) -> None:
        """Authenticate, choose the database, load the scripts: in one write, answered in order."""
        where = self._where
        greetings: list[Arguments] = []
        if "password" in where:
            user = (where["username"],) if where.get("username") else ()
            greetings.append((b"AUTH", *user, where["password"]))
        if where.get("db"):
            greetings.append((b"SELECT", where["db"]))
        greetings.append((b"PING",))
        greetings.extend((b"SCRIPT", b"LOAD", script.text) for script in self._scripts)
        deadline = self._loop.time() + self._timeout
        commands = [Command() for _ in greetings]
        for command, arguments in zip(commands, greetings, strict=True):
            command.deadline = deadline
            link.send(command, pack(arguments))
        await asyncio.gather(*(command.as_future() for command in commands))


def _translate(reply: hiredis.ReplyError) -> Exception:
    """A Redis error reply as ours. Its text names commands and states, never a key's value."""
    text = str(reply).partition(", with args")[0]  # a server without the command quotes what followed it
    code = text.split(" ", 1)[0]
    if code in _UNABLE or code == "WRONGPASS":
        return NotExecuted(f"the store cannot serve: {code}")
    return NotExecuted(f"the store answered with an error: {text[:200]}")


def _describe(error: BaseException) -> str:
    return str(error) or type(error).__name__
