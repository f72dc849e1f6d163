"""The store off the hot path: the same pipeline, for tasks.

- Whoever asks while there is no connection waits for the attempt under way or has one made, and is refused
  with it: no request waits longer than two time-outs, and of a store that refuses it is told at once.
- A caller that goes away never disturbs the others: its commands keep their places.
- Commands may run twice (the connection can break after the store did its part and before the answer
  came, and then the caller asks again), so every command sent here is written to be repeatable.
- Replies are text. A hash (HGETALL) is a dictionary; everything else is as Redis sends it.
- No message holds the URL: it may carry a password.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple, Self

from gateway.errors import GatewayError, StoreUnavailable
from gateway.tokens.pipeline import Command as Pending
from gateway.tokens.pipeline import Pipeline, Script, read_url

QUEUE: Final = 100_000
"""Commands that may wait at once. A listing asks for two keys of every product together."""

Argument = str | bytes | int
Command = tuple[Argument, ...]


class Run(NamedTuple):
    """A script and what it is called with; all its keys share one hash tag."""

    script: Script
    keys: Sequence[str]
    arguments: tuple[Argument, ...]


class Declined(GatewayError):
    """The store holds something that forbids what was asked; its text says what and how to mend it.

    `code` is one of: product_unknown, product_exists, product_archived, version_unknown,
    active_version_unknown, version_conflict, version_missing, token_unknown, token_revoked, expiry_past,
    expiry_too_far, key_unknown, key_ambiguous, invalid (with `faults`: pairs of field and message).
    """

    def __init__(self, code: str, message: str, faults: Sequence[tuple[str, str]] = ()) -> None:
        self.code = code
        self.faults = tuple(faults)
        super().__init__(message)

    @classmethod
    def invalid(cls, faults: Sequence[tuple[str, str]]) -> Declined:
        """The values given break a rule of gateway.tokens.checks."""
        return cls("invalid", "; ".join(f"{field} {message}" for field, message in faults), faults)


class Link:
    """One connection to the store, as an async context manager: made when it is entered, ended when left."""

    def __init__(self, url: str, timeout: float) -> None:
        where = read_url(url)
        place = where.get("path") or f"{where.get('host', 'localhost')}:{where.get('port', 6379)}"
        self._about = f"redis_url: {place}, redis_timeout: {timeout:g} s"
        self._url = url
        self._timeout = timeout
        self._pipeline: Pipeline | None = None

    async def __aenter__(self) -> Self:
        self._pipeline = Pipeline(self._url, timeout=self._timeout, queue=QUEUE, text=True)
        self._pipeline.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._pipeline is not None:
            await self._pipeline.stop()

    async def ping(self) -> None:
        """Returns when the store answers. Raises StoreUnavailable."""
        await self.call("PING")

    async def call(self, *command: Argument) -> Any:
        """Ask one command and return its reply. Raises StoreUnavailable."""
        return (await self.call_all(command))[0]

    async def run(self, script: Script, keys: Sequence[str], *arguments: Argument) -> Any:
        """Run a script; all its keys share one hash tag. Raises StoreUnavailable."""
        return (await self.call_all(Run(script, keys, arguments)))[0]

    async def call_all(self, *commands: Command | Run) -> list[Any]:
        """Ask several commands, which leave together; their replies in order. Raises StoreUnavailable."""
        pipeline = self._pipeline
        assert pipeline is not None, "the store is asked before it is entered"
        try:
            if not pipeline.connected:
                await pipeline.connect().future()
            asked = [_send(pipeline, command) for command in commands]
            replies = []
            for pending in asked:  # when the first reply has come, the others mostly have too
                replies.append(pending.result() if pending.done else await pending.future())
        except StoreUnavailable as error:
            raise StoreUnavailable(f"{error} ({self._about})") from None
        return [
            dict(zip(reply[::2], reply[1::2], strict=True)) if command[0] == "HGETALL" else reply
            for command, reply in zip(commands, replies, strict=True)
        ]


def _send(pipeline: Pipeline, command: Command | Run) -> Pending:
    if isinstance(command, Run):
        return pipeline.run(command.script, *command.keys, *command.arguments, keys=len(command.keys))
    return pipeline.call(*command)
