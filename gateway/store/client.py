"""The store over redis-py, for everything off the hot path: one boundary, where its errors become ours.

- Commands asked in one turn of the event loop leave together, in one pipeline: a redis-py call costs
  about 170 µs alone and 40 µs in company, which is what the mint service's speed is made of.
- A caller that goes away never disturbs the others: the batch belongs to no caller.
- Commands may run twice (the connection can break after the store did its part and before the answer
  came), so every command sent here is written to be repeatable.
- No message holds the URL: it may carry a password. Redis' own texts may echo arguments, so of an error
  answer only its first word (WRONGPASS, OOM, …) is told.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from itertools import islice
from typing import Any, Final

from redis import asyncio as aioredis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoScriptError, RedisError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from gateway.errors import ConfigurationError, GatewayError, StoreUnavailable
from gateway.store.scripts import Script

POOL_SIZE: Final = 4
"""Connections, and so batches under way at once: one is enough for speed, and a long listing or a large
manifest should not hold up the rest."""

Argument = str | bytes | int
Command = tuple[Argument, ...]
Request = tuple[Sequence[Command], "asyncio.Future[list[Any]]"]
"""Commands that leave together, and where their replies go."""


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
        """The values given break a rule of gateway.tokens.validation."""
        return cls("invalid", "; ".join(f"{field} {message}" for field, message in faults), faults)


class WrongKind(StoreUnavailable):
    """A key holds something else than was asked for."""

    word: Final = "WRONGTYPE"


class StoreClient:
    """Connections to the store, made when first needed. An async context manager that closes them."""

    def __init__(self, url: str, timeout: float) -> None:
        try:
            pool = aioredis.BlockingConnectionPool.from_url(
                url,
                max_connections=POOL_SIZE,
                timeout=timeout,
                socket_timeout=None,  # a batch has one; with one a reply a mint took 114 µs instead of 109
                socket_connect_timeout=timeout,
                protocol=2,  # any server's; nothing of RESP3 is used
                decode_responses=True,
                encoding_errors="surrogateescape",
                # a connection the store closed while idle is made again, once; time-outs are final
                retry=Retry(NoBackoff(), 1, supported_errors=(RedisConnectionError,)),
            )
        except (ValueError, TypeError, RedisError):
            # from None: the parser quotes parts of the URL
            raise ConfigurationError(
                ["redis_url cannot be read: it must look like redis://, rediss:// or unix:///path"]
            ) from None
        options = pool.connection_kwargs
        self._place = str(
            options.get("path") or f"{options.get('host', 'localhost')}:{options.get('port', 6379)}"
        )
        self._timeout = timeout
        self._client = aioredis.Redis(connection_pool=pool)
        self._waiting: list[Request] = []
        self._senders: set[asyncio.Task[None] | None] = set()

    async def close(self) -> None:
        """Close the connections; what is still under way is refused."""
        senders = [sender for sender in self._senders if sender is not None]
        for sender in senders:
            sender.cancel()
        await asyncio.gather(*senders, return_exceptions=True)
        for _, future in self._waiting:
            if not future.done():
                future.set_exception(StoreUnavailable("the link to the store was closed"))
        await self._client.aclose()
        await self._client.connection_pool.disconnect()

    async def ping(self) -> None:
        """Returns when the store answers. Raises StoreUnavailable."""
        await self.call("PING")

    async def call(self, *command: Argument) -> Any:
        """Ask one command and return its reply (text, not bytes). Raises StoreUnavailable."""
        return (await self.call_all(command))[0]

    async def call_all(self, *commands: Command) -> list[Any]:
        """Ask several commands, which leave together; their replies in order. Raises StoreUnavailable."""
        replies = await self._send(commands)
        for reply in replies:
            if isinstance(reply, Exception):
                raise self._translate(reply)
        return replies

    async def call_each(self, *commands: Command) -> list[Any]:
        """The same, but a key of another kind than its command's has a WrongKind in place of its reply."""
        replies = [
            self._translate(reply) if isinstance(reply, Exception) else reply
            for reply in await self._send(commands)
        ]
        for reply in replies:
            if isinstance(reply, Exception) and not isinstance(reply, WrongKind):
                raise reply
        return replies

    async def run(self, script: Script, keys: Sequence[str], *arguments: Argument) -> Any:
        """Run a script; all its keys share one hash tag. Raises StoreUnavailable."""
        [reply] = await self._send((("EVALSHA", script.sha, len(keys), *keys, *arguments),))
        if isinstance(reply, NoScriptError):
            [reply] = await self._send((("EVAL", script.text, len(keys), *keys, *arguments),))
        if isinstance(reply, Exception):
            raise self._translate(reply)
        return reply

    def _send(self, commands: Sequence[Command]) -> asyncio.Future[list[Any]]:
        future: asyncio.Future[list[Any]] = asyncio.get_running_loop().create_future()
        self._waiting.append((commands, future))
        if len(self._waiting) == 1 and len(self._senders) < POOL_SIZE:
            self._senders.add(asyncio.create_task(self._send_waiting()))
        return future

    async def _send_waiting(self) -> None:
        """Send what waits, and what came meanwhile, in as few batches as it takes."""
        try:
            while self._waiting:
                batch, self._waiting = self._waiting, []
                await self._send_batch(batch)
        finally:
            # here and not in a callback, which runs a turn later: what comes in that turn would wait for ever
            self._senders.discard(asyncio.current_task())

    async def _send_batch(self, batch: Sequence[Request]) -> None:
        try:
            replies = iter(await self._exchange([command for commands, _ in batch for command in commands]))
        except BaseException as error:
            for _, future in batch:
                if not future.done():
                    future.set_exception(self._translate(error))
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
            async with asyncio.timeout(self._timeout):  # redis-py closes a connection that is cut off
                # error answers come back as values: raised, they would carry the command's arguments
                return await pipeline.execute(raise_on_error=False)

    def _translate(self, error: BaseException) -> StoreUnavailable:
        if isinstance(error, RedisTimeoutError | TimeoutError):
            return StoreUnavailable(f"the store at {self._place} did not answer within {self._timeout:g} s")
        if isinstance(error, ResponseError):
            word = str(error).split(" ", 1)[0].rstrip(":")
            if word == WrongKind.word:
                return WrongKind(f"the store at {self._place} holds something else at a key ({word})")
            reason = word if word.isupper() else type(error).__name__  # redis-py takes some words away
            return StoreUnavailable(f"the store at {self._place} refused a command ({reason})")
        return StoreUnavailable(
            f"the store at {self._place} cannot be reached ({type(error).__name__}); "
            "is it running, and redis_url right?"
        )
