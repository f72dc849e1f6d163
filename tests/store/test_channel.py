"""Messages between workers, over a real store that is stopped and started."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest

from gateway.errors import StoreUnavailable
from gateway.store.channel import MESSAGE_BYTES, Channel
from gateway.store.pipeline import Pipeline
from tests.support.store_server import StoreServer
from tests.support.waiting import until

QUESTION = "are you there?"


@dataclass
class Inbox:
    """What arrives. questions: those of `until_it_listens`, also one whose answer came too late."""

    received: list[str] = field(default_factory=list)
    questions: list[str] = field(default_factory=list)

    def receive(self, text: str) -> None:
        (self.questions if text == QUESTION else self.received).append(text)


@dataclass
class Worker:
    """One end of the channels `all` and `one`."""

    channel: Channel
    pipeline: Pipeline
    inbox: Inbox

    @property
    def received(self) -> list[str]:
        return self.inbox.received


@pytest.fixture
async def worker(own_store: StoreServer) -> AsyncIterator[Worker]:
    pipeline = Pipeline(own_store.url, timeout=30, queue=100)
    pipeline.start()
    await until(lambda: pipeline.is_ready)
    inbox = Inbox()
    channel = Channel(own_store.url, pipeline, ("all", "one"), inbox.receive)
    channel.start()
    yield Worker(channel, pipeline, inbox)
    await channel.stop()
    await pipeline.stop()


async def until_it_listens(worker: Worker) -> None:
    async with asyncio.timeout(30):
        while True:
            try:
                if await worker.channel.publish("one", QUESTION):
                    break
            except StoreUnavailable:
                pass
            await asyncio.sleep(0.02)
    await until(lambda: bool(worker.inbox.questions))
    worker.inbox.questions.clear()


async def test_a_message_reaches_those_who_listen(worker: Worker) -> None:
    await until_it_listens(worker)
    assert await worker.channel.publish("all", "a b c") == 1
    assert await worker.channel.publish("nobody", "x") == 0
    await until(lambda: worker.received == ["a b c"])


async def test_a_message_that_is_too_long_is_none_of_ours(worker: Worker) -> None:
    await until_it_listens(worker)
    await worker.channel.publish("all", "x" * (MESSAGE_BYTES + 1))
    await worker.channel.publish("all", "x" * MESSAGE_BYTES)
    await until(lambda: worker.received == ["x" * MESSAGE_BYTES])


async def test_it_stops_when_the_store_has_gone(worker: Worker, own_store: StoreServer) -> None:
    await until_it_listens(worker)
    own_store.stop()
    await worker.channel.stop()
    assert worker.channel._task is not None
    assert worker.channel._task.done()


async def test_it_listens_again_after_the_store_was_away(
    worker: Worker, own_store: StoreServer, caplog: pytest.LogCaptureFixture
) -> None:
    await until_it_listens(worker)
    own_store.stop()
    with pytest.raises(StoreUnavailable):
        await worker.channel.publish("all", "lost")
    own_store.start()
    await until(lambda: worker.pipeline.is_ready, 30)
    await until_it_listens(worker)
    await worker.channel.publish("all", "here again")
    await until(lambda: worker.received == ["here again"])
    assert all("channel" not in record.getMessage() for record in caplog.records)
