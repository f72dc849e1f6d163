"""The connections of redis-py to one server of the store, and what becomes of its errors.

- Commands that are sent in one turn of the event loop, or while others are under way, leave together.
- A replica is never used: client_connection.py asks for the role, and an error reply that shows a replica
  closes the connections, so that the server's name is looked up again.
- Each reason why the store cannot be used is logged once, in services; a command has no log (see faults.py).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from typing import Any, Final

from redis import asyncio as aioredis
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.driver_info import DriverInfo
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from gateway.errors import ConfigurationError, StoreUnavailable
from gateway.runtime.system_errors import describe
from gateway.store.client_connection import ONLY_PRIMARY, Command, NotPrimary, ask
from gateway.store.faults import REPLICA, TIMEOUT, Fault, Faults, fault_of_failure, fault_of_reply
from gateway.store.key_names import PROBE_KEY
from gateway.store.pipeline_opening import server_address
from gateway.store.replies import Consequence, ErrorReply, read_error

POOL_SIZE: Final = 4
"""Connections to a server, and so batches under way at once: one is enough for speed, and a long listing or a
large manifest should not delay the others."""

PendingCall = tuple[Sequence[Command], "asyncio.Future[list[Any]]"]
"""Commands that leave together, and the future that gets their replies."""


@cache
def driver_info() -> DriverInfo:
    """What redis-py tells a server about itself: kept, because to look up its version takes 5 ms."""
    return DriverInfo()


class WrongKind(StoreUnavailable):
    """A key holds a value of another kind than the command expects."""

    code: Final = "WRONGTYPE"


class ClientServer:
    """The connections to one server, and the commands that wait to be sent to it."""

    def __init__(self, url: str, timeout: float, logger: logging.Logger | None) -> None:
        """Raises ConfigurationError when the URL cannot be read.

        logger: where the reasons for failures are logged; None: nowhere.
        """
        try:
            pool = aioredis.BlockingConnectionPool.from_url(
                url,
                max_connections=POOL_SIZE,
                timeout=timeout,
                socket_timeout=None,  # a batch has its own; with a second one a mint took 114 µs, not 109
                socket_connect_timeout=timeout,
                protocol=2,  # every server has it, and nothing of RESP3 is used
                decode_responses=True,
                driver_info=driver_info(),
                encoding_errors="surrogateescape",
                # a connection that the server closed while idle is made again, once; time-outs are final
                retry=Retry(NoBackoff(), 1, supported_errors=(RedisConnectionError,)),
            )
        except (ValueError, TypeError, RedisError):
            # from None: the parser's message quotes parts of the URL
            raise ConfigurationError(
                ["redis_url cannot be read: it must look like redis://, rediss:// or unix:///path"]
            ) from None
        pool.connection_class = ONLY_PRIMARY[pool.connection_class]
        self._address = server_address(pool.connection_kwargs)
        self._faults = Faults(logger, self._address)
        self._is_unfit = False
        self._times_unfit = 0
        self._timeout = timeout
        self._pool = pool
        self._client = aioredis.Redis(connection_pool=pool)
        # how redis-py makes replies handier, by the command's name
        self._readers: dict[Any, Callable[[Any], Any]] = {**self._client.response_callbacks}
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
        await self._pool.disconnect()

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
        """Send the waiting commands, and those that arrive meanwhile, in as few batches as possible.

        One connection is kept for all of them, because to take one from redis-py's pool and to give it back
        takes as long as half a batch.
        """
        connection: AbstractConnection | None = None
        times_unfit = self._times_unfit
        try:
            while self._waiting:
                batch, self._waiting = self._waiting, []
                try:
                    async with asyncio.timeout(
                        self._timeout
                    ):  # redis-py closes a connection that is interrupted
                        if self._is_unfit:  # connect anew, and look the server's name up again
                            self._is_unfit = False
                            await self._pool.disconnect(inuse_connections=False)
                        if connection is None:
                            connection = await self._pool.get_connection()  # type: ignore[no-untyped-call]
                        elif times_unfit != self._times_unfit:
                            await connection.disconnect()
                        times_unfit = self._times_unfit
                        replies = await self._exchange(
                            connection, [command for commands, _ in batch for command in commands]
                        )
                except BaseException as error:
                    self._fail(batch, error)
                    if not isinstance(error, Exception):
                        raise
                else:
                    _distribute(batch, replies)
        finally:
            # Not in a callback, which runs one turn later: a command sent in that turn would wait for ever.
            self._senders.discard(asyncio.current_task())
            if connection is not None:
                await self._pool.release(connection)

    async def _exchange(self, connection: AbstractConnection, commands: Sequence[Command]) -> list[Any]:
        """Send commands and return their replies, where redis-py has a handier form in that form."""
        try:
            replies = await ask(connection, commands)
        except RedisConnectionError:  # the server closed it while it was idle: once more, on a new one
            await connection.disconnect()
            replies = await ask(connection, commands)
        for index, command in enumerate(commands):
            read = self._readers.get(command[0])
            if read is not None and not isinstance(replies[index], Exception):
                replies[index] = read(replies[index])
        return replies

    def _fail(self, batch: Sequence[PendingCall], error: BaseException) -> None:
        for _, future in batch:
            if not future.done():
                future.set_exception(self.translate(error))

    async def ping(self) -> None:
        """Return when the server answers. Raises StoreUnavailable."""
        [reply] = await self.send((("PING",),))
        if isinstance(reply, Exception):
            raise self.translate(reply)

    async def check(self) -> None:
        """Return when the server is a primary and takes writes. Raises StoreUnavailable, with a `reason`."""
        # it needs memory, and writes nothing
        [reply] = await self.send((("SETRANGE", PROBE_KEY, 0, ""),))
        if isinstance(reply, Exception):
            raise self.translate(reply, is_checked=True)
        self._faults.is_well(asyncio.get_running_loop().time())
        self._faults.raise_current()

    def translate(self, error: BaseException, *, is_checked: bool = False) -> StoreUnavailable:
        """An error of redis-py as ours, with the server's address. A fault of the store is logged once.

        is_checked: whether `check` has met it, and so will find its end.
        """
        if isinstance(error, StoreUnavailable):
            return error
        code = getattr(error, "status_code", None)
        if isinstance(error, ResponseError) or code is not None:
            return self._refused(read_error(str(error), code), is_checked)
        if isinstance(error, NotPrimary):
            return self._report(REPLICA, f"the store at {self._address} is a replica (READONLY)")
        if isinstance(error, RedisTimeoutError | TimeoutError):
            text = f"the store at {self._address} did not answer within {self._timeout:g} s"
            return self._report(TIMEOUT, text)
        text = (
            f"the store at {self._address} cannot be reached ({describe(error)}): "
            "check that it runs and that redis_url is right"
        )
        return self._report(fault_of_failure(error), text)

    def _refused(self, reply: ErrorReply, is_checked: bool) -> StoreUnavailable:
        """An error reply as ours. Redis' own words may repeat arguments, so only its code is shown."""
        if reply.code == WrongKind.code:
            return WrongKind(f"the store at {self._address} has another kind of value at a key (WRONGTYPE)")
        text = f"the store at {self._address} refused a command ({reply.code})"
        consequence, meaning = reply.meaning
        if consequence is Consequence.COMMAND:
            return StoreUnavailable(text)
        if consequence is Consequence.RECONNECT:
            self._is_unfit = True
            self._times_unfit += 1
        is_checked = is_checked or self._is_unfit
        return self._report(fault_of_reply(reply), f"{text}: {meaning}", is_checked=is_checked)

    def _report(self, fault: Fault, text: str, *, is_checked: bool = True) -> StoreUnavailable:
        now = asyncio.get_running_loop().time()
        self._faults.begin(replace(fault, event=text), now, is_checked=is_checked)
        return StoreUnavailable(text, fault.public)


def _distribute(batch: Sequence[PendingCall], replies: Sequence[Any]) -> None:
    """Hand each call its own replies."""
    start = 0
    for commands, future in batch:
        end = start + len(commands)
        if not future.done():
            future.set_result(list(replies[start:end]))
        start = end
