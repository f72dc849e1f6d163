"""Commands to Redis as the pipeline sends them, and how each one ends."""

from __future__ import annotations

from typing import Any

import hiredis

from gateway.errors import StoreUnavailable
from gateway.runtime.deferred import Deferred
from gateway.store.replies import ErrorReply
from gateway.store.scripts import Script

Arguments = tuple[bytes | str | int, ...]


class NotExecuted(StoreUnavailable):
    """The server has certainly not executed the command: it was not sent, or the reply was an error.

    reply: the error reply, if there was one.
    """

    def __init__(self, message: str, reply: ErrorReply | None = None) -> None:
        super().__init__(message)
        self.reply = reply


def pack(arguments: Arguments) -> bytes:
    """A command as Redis reads it (a RESP2 array of bulk strings)."""
    return hiredis.pack_command(arguments)  # type: ignore[no-any-return, arg-type]


class Command(Deferred[Any]):
    """A command that waits for its reply.

    deadline: when the command is overdue, in seconds of the event loop's clock; the pipeline sets it.
    """

    deadline = 0.0

    def with_script_text(self) -> bytes | None:
        """The packed command with its script's text, for a server without the script; None: no script."""
        return None

    def on_late_reply(self, reply: Any) -> None:
        """Called with a reply that arrives after the command has failed, unless the reply is an error."""


class ScriptCall(Command):
    """A script that runs on one key, which is the first of the arguments."""

    def __init__(self, script: Script, *arguments: bytes | str | int) -> None:
        self._script = script
        self._arguments = (b"1", *arguments)  # 1 is the number of keys

    def packed(self) -> bytes:
        """The packed command, which names the script by its hash."""
        return pack((b"EVALSHA", self._script.sha, *self._arguments))

    def with_script_text(self) -> bytes:
        """The packed command with the script's text."""
        return pack((b"EVAL", self._script.text, *self._arguments))
