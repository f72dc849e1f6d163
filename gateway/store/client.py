"""Redis over redis-py, for everything off the hot path. Its errors become ours here, and only here.

- Commands sent in one turn of the event loop leave together, in one pipeline: a redis-py call costs about
  170 µs alone and 40 µs together with others, and the mint service's speed depends on this.
- Each command goes to the server that holds its key. There is one server today.
- A caller that is cancelled never disturbs the others: the batch belongs to no caller.
- A command may be executed twice, because the connection can break after the server has executed it and
  before the reply has arrived. So every command sent here is written so that it may be repeated.
- No message contains the URL, which may carry a password. Redis' own messages may repeat arguments, so of an
  error reply only the code, its first word (WRONGPASS, OOM, …), is shown.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, Final, NoReturn

from redis.exceptions import NoScriptError

from gateway.errors import StoreUnavailable
from gateway.store.client_connection import Argument, Command
from gateway.store.client_server import ClientServer, WrongKind
from gateway.store.key_names import server_number
from gateway.store.replies import ErrorReply, read_error
from gateway.store.scripts import Script

WATCH_SECONDS: Final = 0.5
KEYLESS: Final = frozenset({"PING", "TIME", "INFO", "CONFIG"})
"""Commands without a key. They go to the first server."""


class StoreClient:
    """A few connections to each server, made when first needed. An async context manager that closes them."""

    def __init__(self, urls: Iterable[str], timeout: float, logger: logging.Logger | None = None) -> None:
        """Raises ConfigurationError when a URL cannot be read. timeout: seconds that one batch may take.

        logger: where a service logs why the store cannot be used.
        """
        self._servers = tuple(ClientServer(url, timeout, logger) for url in urls)
        self._send: Callable[[Sequence[Command]], Awaitable[list[Any]]] = self._route
        if len(self._servers) == 1:  # bound once, so that routing costs nothing
            self._send = self._servers[0].send

    async def __aenter__(self) -> StoreClient:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections. Commands that are still under way fail with StoreUnavailable."""
        for server in self._servers:
            await server.close()

    async def now(self) -> int:
        """The store's clock, in ms since 1970 UTC. Raises StoreUnavailable."""
        seconds, micros = await self.call("TIME")
        return 1000 * int(seconds) + int(micros) // 1000

    async def ping(self) -> None:
        """Returns when every server answers. Raises StoreUnavailable."""
        await asyncio.gather(*(server.ping() for server in self._servers))

    async def check(self) -> None:
        """Returns when every server is a primary and takes writes.

        Raises StoreUnavailable with a `reason`.
        """
        await asyncio.gather(*(server.check() for server in self._servers))

    async def watch(self) -> NoReturn:
        """Check the servers again and again, so that the log tells when they fail and when they are back."""
        while True:
            with contextlib.suppress(StoreUnavailable):  # it is logged already
                await self.check()
            await asyncio.sleep(WATCH_SECONDS)

    async def call_every(self, *command: Argument) -> list[Any]:
        """Send one command without a key to every server; their replies. Raises StoreUnavailable."""
        replies = await asyncio.gather(*(server.send((command,)) for server in self._servers))
        for server, [reply] in zip(self._servers, replies, strict=True):
            if isinstance(reply, Exception):
                raise server.translate(reply)
        return [reply for [reply] in replies]

    async def call(self, *command: Argument) -> Any:
        """Send one command and return its reply (text, not bytes). Raises StoreUnavailable."""
        return (await self.call_all(command))[0]

    async def call_all(self, *commands: Command) -> list[Any]:
        """Send several commands together; their replies in order. Raises StoreUnavailable."""
        replies = await self._send(commands)
        for command, reply in zip(commands, replies, strict=True):
            if isinstance(reply, Exception):
                raise self._server(command).translate(reply)
        return replies

    async def call_each(self, *commands: Command) -> list[Any]:
        """As call_all, but where a key holds another kind of value, its reply is a WrongKind."""
        replies = [
            self._server(command).translate(reply) if isinstance(reply, Exception) else reply
            for command, reply in zip(commands, await self._send(commands), strict=True)
        ]
        for reply in replies:
            if isinstance(reply, Exception) and not isinstance(reply, WrongKind):
                raise reply
        return replies

    async def try_each(self, *commands: Command) -> list[list[ErrorReply | None]]:
        """Try commands on every server: for each server and command the error reply, None where it succeeded.

        Raises StoreUnavailable when a server does not answer.
        """
        tried = await asyncio.gather(*(server.send(commands) for server in self._servers))
        return [
            [
                read_error(str(reply), getattr(reply, "status_code", None))
                if isinstance(reply, Exception)
                else None
                for reply in replies
            ]
            for replies in tried
        ]

    async def run(self, script: Script, keys: Sequence[str], *arguments: Argument) -> Any:
        """Run a script on keys that share one hash tag. Raises StoreUnavailable."""
        command = ("EVALSHA", script.sha, len(keys), *keys, *arguments)
        [reply] = await self._send((command,))
        if isinstance(reply, NoScriptError):
            [reply] = await self._send((("EVAL", script.text, len(keys), *keys, *arguments),))
        if isinstance(reply, Exception):
            raise self._server(command).translate(reply)
        return reply

    async def scan(self, cursor: int, pattern: str, count: int) -> tuple[int, list[str]]:
        """One step through the keys of all servers, one server after another: the next cursor, and keys.

        The cursor 0 begins, and 0 as the next cursor is the end. `count`: about how many keys are looked at.
        Raises StoreUnavailable.
        """
        server_cursor, number = divmod(cursor, len(self._servers))
        server = self._servers[number]
        [reply] = await server.send((("SCAN", str(server_cursor), "MATCH", pattern, "COUNT", count),))
        if isinstance(reply, Exception):
            raise server.translate(reply)
        server_cursor = int(reply[0])
        if server_cursor:
            return server_cursor * len(self._servers) + number, reply[1]
        return (number + 1) % len(self._servers), reply[1]

    def _server(self, command: Command) -> ClientServer:
        if len(self._servers) == 1 or command[0] in KEYLESS:
            return self._servers[0]
        key = command[3] if command[0] in ("EVAL", "EVALSHA") else command[1]
        assert not isinstance(key, int)
        return self._servers[server_number(key, len(self._servers))]

    async def _route(self, commands: Sequence[Command]) -> list[Any]:
        """Send each command to its server; the replies in the order of the commands."""
        indices_by_server: dict[ClientServer, list[int]] = {}
        for index, command in enumerate(commands):
            indices_by_server.setdefault(self._server(command), []).append(index)
        parts = await asyncio.gather(
            *(
                server.send([commands[index] for index in indices_of_server])
                for server, indices_of_server in indices_by_server.items()
            )
        )
        replies: list[Any] = [None] * len(commands)
        for indices_of_server, part in zip(indices_by_server.values(), parts, strict=True):
            for index, reply in zip(indices_of_server, part, strict=True):
                replies[index] = reply
        return replies
