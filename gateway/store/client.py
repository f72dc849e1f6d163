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
from collections.abc import Awaitable, Callable, Iterable, Sequence
from itertools import islice
from typing import Any, Final

from redis import asyncio as aioredis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoScriptError, RedisError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from gateway.errors import ConfigurationError, StoreUnavailable
from gateway.store.key_names import server_number
from gateway.store.scripts import Script

POOL_SIZE: Final = 4
"""Connections to a server, and so batches under way at once: one is enough for speed, and a long listing or a
large manifest should not delay the others."""

KEYLESS: Final = frozenset({"PING", "TIME", "INFO", "CONFIG"})
"""Commands without a key. They go to the first server."""

Argument = str | bytes | int
Command = tuple[Argument, ...]
PendingCall = tuple[Sequence[Command], "asyncio.Future[list[Any]]"]
"""Commands that leave together, and the future that gets their replies."""


class WrongKind(StoreUnavailable):
    """A key holds a value of another kind than the command expects."""

    code: Final = "WRONGTYPE"


class StoreClient:
    """A few connections to each server, made when first needed. An async context manager that closes them."""

    def __init__(self, urls: Iterable[str], timeout: float) -> None:
        """Raises ConfigurationError when a URL cannot be read. timeout: seconds that one batch may take."""
        self._servers = tuple(_Server(url, timeout) for url in urls)
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

    async def ping(self) -> None:
        """Returns when every server answers. Raises StoreUnavailable."""
        replies = await asyncio.gather(*(server.send((("PING",),)) for server in self._servers))
        for server, [reply] in zip(self._servers, replies, strict=True):
            if isinstance(reply, Exception):
                raise server.translate(reply)

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

    def _server(self, command: Command) -> _Server:
        if len(self._servers) == 1 or command[0] in KEYLESS:
            return self._servers[0]
        key = command[3] if command[0] in ("EVAL", "EVALSHA") else command[1]
        assert not isinstance(key, int)
        return self._servers[server_number(key, len(self._servers))]

    async def _route(self, commands: Sequence[Command]) -> list[Any]:
        """Send each command to its server; the replies in the order of the commands."""
        indices_by_server: dict[_Server, list[int]] = {}
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


class _Server:
    """The connections to one server, and the commands that wait to be sent to it."""

    def __init__(self, url: str, timeout: float) -> None:
        try:
            pool = aioredis.BlockingConnectionPool.from_url(
                url,
                max_connections=POOL_SIZE,
                timeout=timeout,
                socket_timeout=None,  # a batch has its own; with a second one a mint took 114 µs, not 109
                socket_connect_timeout=timeout,
                protocol=2,  # every server has it, and nothing of RESP3 is used
                decode_responses=True,
                encoding_errors="surrogateescape",
                # a connection that the server closed while idle is made again, once; time-outs are final
                retry=Retry(NoBackoff(), 1, supported_errors=(RedisConnectionError,)),
            )
        except (ValueError, TypeError, RedisError):
            # from None: the parser's message quotes parts of the URL
            raise ConfigurationError(
                ["redis_url cannot be read: it must look like redis://, rediss:// or unix:///path"]
            ) from None
        options = pool.connection_kwargs
        self._address = str(
            options.get("path") or f"{options.get('host', 'localhost')}:{options.get('port', 6379)}"
        )
        self._timeout = timeout
        self._client = aioredis.Redis(connection_pool=pool)
        self._waiting: list[PendingCall] = []
        self._senders: set[asyncio.Task[None] | None] = set()

    async def close(self) -> None:
        senders = [sender for sender in self._senders if sender is not None]
        for sender in senders:
            sender.cancel()
        await asyncio.gather(*senders, return_exceptions=True)
        for _, future in self._waiting:
            if not future.done():
                future.set_exception(StoreUnavailable("the connection to the store was closed"))
        await self._client.aclose()
        await self._client.connection_pool.disconnect()

    def send(self, commands: Sequence[Command]) -> asyncio.Future[list[Any]]:
        """Send commands together; an error reply is a value, for `translate`.

        Awaiting raises StoreUnavailable when there are no replies.
        """
        future: asyncio.Future[list[Any]] = asyncio.get_running_loop().create_future()
        self._waiting.append((commands, future))
        if len(self._waiting) == 1 and len(self._senders) < POOL_SIZE:
            self._senders.add(asyncio.create_task(self._send_waiting()))
        return future

    async def _send_waiting(self) -> None:
        """Send the waiting commands, and those that arrive meanwhile, in as few batches as possible."""
        try:
            while self._waiting:
                batch, self._waiting = self._waiting, []
                await self._send_batch(batch)
        finally:
            # Not in a callback, which runs one turn later: a command sent in that turn would wait for ever.
            self._senders.discard(asyncio.current_task())

    async def _send_batch(self, batch: Sequence[PendingCall]) -> None:
        try:
            replies = iter(await self._exchange([command for commands, _ in batch for command in commands]))
        except BaseException as error:
            for _, future in batch:
                if not future.done():
                    future.set_exception(self.translate(error))
            if not isinstance(error, Exception):
                raise
        else:
            for commands, future in batch:
                own = list(islice(replies, len(commands)))
                if not future.done():
                    future.set_result(own)

    async def _exchange(self, commands: Sequence[Command]) -> list[Any]:
        async with self._client.pipeline(transaction=False) as pipeline:
            for command in commands:
                pipeline.execute_command(*command)
            async with asyncio.timeout(self._timeout):  # redis-py closes a connection that is interrupted
                # Error replies are returned as values: raised, they would contain the command's arguments.
                return await pipeline.execute(raise_on_error=False)

    def translate(self, error: BaseException) -> StoreUnavailable:
        """An error of redis-py as ours, with the server's address."""
        if isinstance(error, RedisTimeoutError | TimeoutError):
            return StoreUnavailable(f"the store at {self._address} did not answer within {self._timeout:g} s")
        if isinstance(error, ResponseError):
            code = str(error).split(" ", 1)[0].rstrip(":")
            if code == WrongKind.code:
                return WrongKind(f"the store at {self._address} has another kind of value at a key ({code})")
            reason = code if code.isupper() else type(error).__name__  # redis-py removes some codes
            return StoreUnavailable(f"the store at {self._address} refused a command ({reason})")
        return StoreUnavailable(
            f"the store at {self._address} cannot be reached ({type(error).__name__}): "
            "check that it runs and that redis_url is right"
        )
