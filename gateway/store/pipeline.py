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
- A replica is never used. An error reply (replies.py) or the answer to a question about the role
  (primary_watch.py) that shows one ends the connection, and the server's name is looked up again. Each
  reason is logged once (see faults.py).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from functools import partial
from typing import Final

from redis.asyncio.connection import parse_url

from gateway.errors import StoreUnavailable
from gateway.store.commands import Command, NotExecuted, ScriptCall, pack
from gateway.store.faults import (
    LOST,
    NO_REDIS,
    STEADY_SECONDS,
    TIMEOUT,
    Fault,
    Faults,
    fault_of_failure,
    fault_of_reply,
)
from gateway.store.pipeline_connection import PipelineConnection
from gateway.store.pipeline_opening import BackOff, connect, prepare, server_address
from gateway.store.pipeline_state import Event, State, next_state
from gateway.store.primary_watch import ASK_SECONDS, OWN_QUESTIONS, PrimaryWatch, Probe
from gateway.store.replies import Consequence, ErrorReply
from gateway.store.scripts import PROBE, Script

_log = logging.getLogger("gateway")

SILENT_AFTER_TIMEOUTS: Final = 4
"""A connection is given up when nothing has arrived for so many time-outs after a command was overdue."""
ASIDE_SECONDS: Final = 60.0
"""How long a connection that was given up is still read."""
CHECKS_PER_TIMEOUT: Final = 8
"""How often the connection is checked within one time-out, at least."""


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
        self._faults = Faults(_log, server_address(self._options))
        self._primary_watch: PrimaryWatch | None = None
        self._state = State.IDLE
        self._connection: PipelineConnection | None = None
        self._ready_connection: PipelineConnection | None = None
        self._aside: PipelineConnection | None = None
        self._retired: set[PipelineConnection] = set()
        self._task: asyncio.Task[None] | None = None
        self.connections = 0
        """How many connections have been made until now."""
        self.on_ready: Callable[[], None] = lambda: None
        """Called when the pipeline becomes READY, and CHECKS_PER_TIMEOUT times a time-out while it is."""
        self.on_timed: Callable[[float], None] = lambda _seconds: None
        """See PipelineConnection."""

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
        for retired in self._retired:
            retired.abort()

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

    async def check(self) -> None:
        """Return when the server would take a claim. Raises StoreUnavailable, whose `reason` says why not.

        For a coroutine that `gateway.runtime.deferred` steps.
        """
        probe = Probe()
        self.post(probe, probe.packed())
        try:
            await probe
        except StoreUnavailable as error:
            if self._primary_watch is not None:
                self._primary_watch.judge(error)
            raise StoreUnavailable(str(error), self._faults.reason) from None
        self._faults.is_well(self._loop.time())
        self._faults.raise_current()

    def post(self, command: Command, packed: bytes, key: str = "") -> None:  # noqa: ARG002
        """Send a packed command as its caller's own kind of Command.

        `key` is what a Topology routes by; it is not used here, where there is one server.
        """
        command.deadline = self._loop.time() + self._timeout
        connection = self._ready_connection
        if connection is None:
            command.set_exception(NotExecuted("the store is not connected"))
        elif len(connection.waiting) >= self._queue and self._is_full(connection):
            command.set_exception(NotExecuted("too many commands wait for the store"))
        else:
            connection.send(command, packed)

    def _is_full(self, connection: PipelineConnection) -> bool:
        """Whether as many commands wait as may; our own questions do not count."""
        own = self._primary_watch.pending if self._primary_watch is not None else 0
        return len(connection.waiting) - own >= self._queue

    def _move(self, event: Event) -> None:
        """Change the state. `post` only checks for a ready connection, because that is quickest."""
        self._state = next_state(self._state, event)
        if self._state not in (State.READY, State.STALLED):
            self._connection = None
        self._ready_connection = self._connection if self._state is State.READY else None

    async def _stay_connected(self) -> None:
        back_off = BackOff()
        while True:
            connection, question = await self._open()
            if connection is None:
                self._move(Event.FAILED)
                await back_off.pause()
                self._move(Event.RETRY)
                continue
            self._connection = connection
            connection.on_error = partial(self._take_error, connection)
            connection.on_garbage = lambda: self._faults.begin(NO_REDIS, self._loop.time())
            connection.on_timed = self.on_timed
            self._primary_watch = PrimaryWatch(
                connection, question, self._timeout, self._faults, self._give_up
            )
            self._move(Event.CONNECTED)
            self.connections += 1
            began = self._loop.time()
            self.on_ready()
            try:
                end = await self._watch(connection)
            except BaseException:
                connection.abort()
                raise
            if self._loop.time() - began >= STEADY_SECONDS:
                back_off.reset()
            elif end is Event.LOST:  # at once: it is no better than a server that refuses to serve
                end = Event.UNFIT
            self._end(connection, end)
            if end is Event.UNFIT:
                await back_off.pause()
                self._move(Event.RETRY)

    async def _open(self) -> tuple[PipelineConnection | None, int]:
        """Connect once: the connection, and the question that tells its role; None when that failed."""
        connection: PipelineConnection | None = None
        try:
            async with asyncio.timeout(self._timeout):
                connection = await connect(self._loop, self._options)
                deadline = self._loop.time() + self._timeout
                question = await prepare(connection, self._options, (*self._scripts, PROBE), deadline)
        except Exception as error:  # redis-py raises many kinds for wrong options of a rediss:// URL
            if connection is not None:
                connection.abort()
            self._faults.begin(fault_of_failure(error), self._loop.time())
            return None, 0
        except asyncio.CancelledError:
            if connection is not None:
                connection.abort()
            raise
        return connection, question

    async def _watch(self, connection: PipelineConnection) -> Event:
        """Check the connection and fail overdue commands, until it is LOST, SILENT or UNFIT; which one."""
        assert self._primary_watch is not None
        pause = min(self._timeout / CHECKS_PER_TIMEOUT, ASK_SECONDS / 4)
        while not connection.ended.done():
            now = self._loop.time()
            connection.expire(now)
            oldest_deadline = connection.waiting[0].deadline if connection.waiting else now + self._timeout
            if oldest_deadline > now:
                if self._state is State.STALLED:
                    self._move(Event.CAUGHT_UP)
                self._primary_watch.ask_if_due(now)
                self.on_ready()
            else:
                if self._state is State.READY:
                    self._move(Event.OVERDUE)
                    self._faults.begin(TIMEOUT, now)
                silence = now - max(connection.last_received_at, oldest_deadline)
                if silence > SILENT_AFTER_TIMEOUTS * self._timeout:
                    return Event.SILENT
            await asyncio.wait([connection.ended], timeout=pause)
        return connection.ended.result()

    def _end(self, connection: PipelineConnection, end: Event) -> None:
        """Give the connection up, and report why."""
        if self._state is not State.AWAY:  # _give_up has done this already
            self._move(end)
        if end is Event.SILENT:
            self._set_aside(connection)
            self._faults.begin(LOST, self._loop.time())
        elif not connection.ended.done() or connection.ended.result() is Event.UNFIT:
            # what waits was perhaps refused, and a refund that was refused is sent again
            self._retired.add(connection)
            self._loop.call_later(self._timeout, self._forget, connection)
        else:
            connection.abort()
            if connection.was_idle:
                _log.debug("the store closed an idle connection")
            else:
                self._faults.begin(LOST, self._loop.time())

    def _take_error(self, connection: PipelineConnection, command: Command, reply: ErrorReply) -> None:
        """Judge an error reply, before its command fails."""
        if isinstance(command, OWN_QUESTIONS):
            return
        fault = fault_of_reply(reply)
        if reply.meaning.consequence is Consequence.RECONNECT:
            self._give_up(connection, fault)
        elif reply.meaning.consequence is Consequence.REPORT:
            self._faults.begin(fault, self._loop.time(), is_checked=False)
            if self._primary_watch is not None:
                self._primary_watch.hurry()
        else:
            self._faults.note(fault, self._loop.time())

    def _give_up(self, connection: PipelineConnection, fault: Fault) -> None:
        """Use a connection no more, because its server is the wrong one."""
        if connection is not self._connection:
            return
        self._faults.begin(fault, self._loop.time())
        self._move(Event.UNFIT)
        connection.retire()

    def _forget(self, connection: PipelineConnection) -> None:
        self._retired.discard(connection)
        connection.abort()

    def _set_aside(self, connection: PipelineConnection) -> None:
        """Go on reading a silent connection for a while, beside the new one; see pipeline_state.py."""
        connection.expire(float("inf"))
        if self._aside is not None:
            self._aside.abort()
        self._aside = connection
        self._loop.call_later(ASIDE_SECONDS, connection.abort)
