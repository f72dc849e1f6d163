"""Messages between the workers that share a store, by Redis' Pub/Sub. They are few, and they may be lost.

A worker has one more connection for them, over redis-py, because a connection that subscribes cannot be a
pipeline's. While it is not connected, no message arrives, and nothing is logged about it: the pipeline to the
same server reports that the server is away.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Final

from redis import asyncio as aioredis
from redis.exceptions import RedisError

from gateway.errors import StoreUnavailable
from gateway.store.pipeline import Pipeline

RETRY_SECONDS: Final = 0.5
"""How long to wait before the connection is made again."""
STOP_SECONDS: Final = 1.0
"""How long the end of a worker waits for the connection to close."""
MESSAGE_BYTES: Final = 16 * 1024
"""A longer message is none of ours."""


class Channel:
    """One worker's subscription at one server.

    names: the channels to listen to. receive: is called with each message's text, and must not raise.
    pipeline: sends what is published.
    """

    def __init__(
        self, url: str, pipeline: Pipeline, names: tuple[str, ...], receive: Callable[[str], None]
    ) -> None:
        self._url = url
        self._pipeline = pipeline
        self._names = names
        self._receive = receive
        self._task: asyncio.Task[None] | None = None
        self._is_stopping = False

    def start(self) -> None:
        """Begin to listen, and listen again whenever the connection is lost."""
        self._task = asyncio.get_running_loop().create_task(self._stay_subscribed())

    async def stop(self) -> None:
        """Close the connection; wait for that at most STOP_SECONDS.

        Closing may take longer, or swallow the cancellation, where the server has gone.
        """
        self._is_stopping = True
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task}, timeout=STOP_SECONDS)

    async def publish(self, name: str, text: str) -> int:
        """Send a message to a channel. Returns how many workers get it. Raises StoreUnavailable.

        For a task.
        """
        reply = await self._pipeline.call(b"PUBLISH", name, text).as_future()
        if not isinstance(reply, int):
            raise StoreUnavailable("the store did not tell how many workers got a message")
        return reply

    async def _stay_subscribed(self) -> None:
        while not self._is_stopping:
            with contextlib.suppress(RedisError, OSError):
                await self._listen()
            await asyncio.sleep(RETRY_SECONDS)

    async def _listen(self) -> None:
        client = aioredis.Redis.from_url(self._url, protocol=2, socket_timeout=None)
        try:
            async with client.pubsub(ignore_subscribe_messages=True) as subscription:
                await subscription.subscribe(*self._names)
                async for message in subscription.listen():
                    data = message["data"]
                    if isinstance(data, bytes) and len(data) <= MESSAGE_BYTES:
                        self._receive(data.decode("ascii", "replace"))
        finally:
            await client.aclose()
