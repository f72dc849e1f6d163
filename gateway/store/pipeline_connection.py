"""One connection of the pipeline: what is sent in a turn of the event loop leaves in few writes.

Redis answers in the order in which it was asked, so replies are matched to commands by position alone. A
command keeps its position until its reply has arrived, also when it was overdue and has failed meanwhile.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from itertools import takewhile
from time import monotonic
from typing import Any, Final, cast

import hiredis

from gateway.errors import StoreUnavailable
from gateway.store.commands import Command, NotExecuted
from gateway.store.pipeline_state import Event
from gateway.store.replies import Consequence, ErrorReply, read_error

EARLY_COMMANDS: Final = 8
"""So many commands are sent before the turn ends, so that Redis works while the rest of the turn is read:
74,000 small downloads/s instead of 63,000, with the same CPU time for each."""

IDLE_SECONDS: Final = 1.0
"""A connection that ends after so long without traffic was closed because it was idle (`timeout` in Redis
counts in whole seconds). That is no fault, unless the server is away then."""


class PipelineConnection(asyncio.Protocol):
    """A connection, and the commands on it that wait for their replies.

    ended: set when the connection can no longer be used, to LOST or UNFIT. last_received_at: when the server
    last sent something, in seconds of the event loop's clock. on_error: called with each error reply before
    its command fails. was_idle: whether it ended while nothing was asked and nothing had come for a while.
    on_garbage: called when the server sends what is no reply. on_timed: called with the seconds from sending
    a command to its reply; one command is measured at a time, because measuring each would cost too much.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._reader = hiredis.Reader()
        self._outgoing: list[bytes] = []
        self._transport: asyncio.Transport | None = None
        self.waiting: deque[Command] = deque()
        self.last_received_at = loop.time()
        self.ended: asyncio.Future[Event] = loop.create_future()
        self.was_idle = False
        self.on_error: Callable[[Command, ErrorReply], None] = lambda _command, _reply: None
        self.on_garbage: Callable[[], None] = lambda: None
        self.on_timed: Callable[[float], None] = lambda _seconds: None
        self._timed: Command | None = None
        self._timed_at = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(0)  # uvloop then writes at once, not when the turn ends

    def data_received(self, data: bytes) -> None:
        self.last_received_at = self._loop.time()
        self._reader.feed(data)
        try:
            while (reply := self._reader.gets()) is not False:
                self._match(self.waiting.popleft(), reply)
        except (hiredis.ProtocolError, IndexError):  # no Redis server, or more replies than commands
            self.on_garbage()
            self.abort()
        if self._timed is not None and self._timed.done:
            self._timed = None
            self.on_timed(monotonic() - self._timed_at)

    def _match(self, command: Command, reply: Any) -> None:
        is_error = isinstance(reply, hiredis.ReplyError)
        if command.done:  # it was overdue, and its request has been refused
            if not is_error:
                command.on_late_reply(reply)
        elif not is_error:
            command.set_result(reply)
        elif (
            str(reply).startswith("NOSCRIPT") and (with_script_text := command.with_script_text()) is not None
        ):
            # Redis has forgotten its scripts: it was restarted empty, or somebody sent SCRIPT FLUSH.
            self.send(command, with_script_text)
        else:
            self._fail(command, reply)

    def _fail(self, command: Command, reply: Any) -> None:
        read = read_error(str(reply))
        self.on_error(command, read)
        command.set_exception(refused(read))

    def _match_unfit(self, command: Command, reply: Any) -> None:
        """Take a reply of a server that is not the right one: what it read is out of date."""
        if isinstance(reply, hiredis.ReplyError):
            command.set_exception(refused(read_error(str(reply))))
        else:
            command.set_exception(StoreUnavailable("the store is no longer the primary"))

    def retire(self) -> None:
        """Send nothing more, and believe no reply that still comes. What was not sent fails at once."""
        if self.ended.done():
            return
        self.ended.set_result(Event.UNFIT)
        self._match = self._match_unfit  # type: ignore[method-assign]
        # fewer wait where a server answers what it has not been asked yet
        unsent = [self.waiting.pop() for _ in range(min(len(self._outgoing), len(self.waiting)))]
        self._outgoing.clear()
        for command in reversed(unsent):
            command.set_exception(NotExecuted("the store is not connected"))

    def send(self, command: Command, packed: bytes) -> None:
        """Send a command when this turn of the event loop ends, or earlier, with EARLY_COMMANDS others."""
        if self._transport is None or self.ended.done():
            command.set_exception(NotExecuted("the store is not connected"))
            return
        if not self._outgoing:
            self._loop.call_soon(self._flush)
        self._outgoing.append(packed)
        self.waiting.append(command)
        if len(self._outgoing) == EARLY_COMMANDS:
            self._flush()

    def _flush(self) -> None:
        if self._outgoing and self._transport is not None and not self.ended.done():
            if self._timed is None:
                self._timed, self._timed_at = self.waiting[-1], monotonic()
            self._transport.write(b"".join(self._outgoing))
        self._outgoing.clear()

    def expire(self, now: float) -> None:
        """Fail every command whose deadline has passed. It keeps its position until its reply arrives."""
        # A list, because a command's callback may send another command at once.
        overdue = list(takewhile(lambda command: command.deadline <= now, self.waiting))
        for command in overdue:
            command.set_exception(StoreUnavailable("the store did not answer in time"))

    def abort(self) -> None:
        """Close the connection at once; every waiting command fails."""
        if self._transport is not None:
            self._transport.abort()

    def connection_lost(self, exc: BaseException | None) -> None:  # noqa: ARG002
        if not self.ended.done():
            idle_seconds = self._loop.time() - self.last_received_at
            self.was_idle = not self.waiting and idle_seconds > IDLE_SECONDS
            self.ended.set_result(Event.LOST)
        self._transport = None
        while self.waiting:
            self.waiting.popleft().set_exception(StoreUnavailable("the connection to the store was lost"))


def refused(reply: ErrorReply) -> NotExecuted:
    """An error reply as our exception."""
    if reply.meaning.consequence is Consequence.COMMAND:
        return NotExecuted(f"the store answered with an error: {reply.text}", reply)
    return NotExecuted(f"the store cannot serve: {reply.code}", reply)
