"""A stream that requests the rest where it broke off, from a source whose every answer the test writes."""

from __future__ import annotations

import pytest

from gateway.errors import StorageError
from gateway.runtime.metrics import UPSTREAM_RETRIES, Counters
from gateway.storage import retries
from gateway.storage.resuming_stream import ResumingStream
from gateway.storage.retries import FIRST_TRIES, TRIES, TransientError
from tests.support.streams import rest

CONTENT = bytes(range(100))
LATER = TransientError("not now")

Answer = int | TransientError | StorageError
"""How many bytes come before the source breaks, or why the request fails."""


class Source:
    def __init__(self, at: int, stop: int) -> None:
        self.at = at
        self.stop = stop


class Scripted(ResumingStream[Source]):
    """Bytes of CONTENT from 10 to 90."""

    can_splice = False

    def __init__(self, *answers: Answer) -> None:
        self.counters = Counters()
        super().__init__("the object 'a'", 10, 90, self.counters.add)
        self.answers = list(answers)
        self.requests: list[tuple[int, int]] = []
        self.given_back: list[bool] = []

    async def _request(self, start: int, stop: int) -> Source:
        self.requests.append((start, stop))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return Source(start, min(start + answer, stop))

    async def _wait(self, source: Source, gather: int) -> None:
        if source.at == source.stop:
            raise LATER

    def _give_back(self, source: Source, *, keep: bool) -> None:
        self.given_back.append(keep)

    def recv_into(self, buffer: memoryview) -> int:
        source = self._source
        if source is None or source.at == source.stop:
            raise BlockingIOError
        size = min(len(buffer), source.stop - source.at)
        buffer[:size] = CONTENT[source.at : source.at + size]
        source.at += size
        self.left -= size
        if not self.left:
            self._drop(keep=True)
        return size

    def give_up(self) -> None:
        """As for a slow client, whose connection holds too much."""
        self._drop(keep=False)

    def splice(self, pipe: int, most: int) -> int:
        raise NotImplementedError

    def limit_unread(self, limit: int) -> None:
        raise NotImplementedError


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Back-off in milliseconds."""
    monkeypatch.setattr(retries, "FIRST_BACKOFF", 0.001)
    monkeypatch.setattr(retries, "LAST_BACKOFF", 0.001)


async def test_the_rest_is_asked_for_from_the_first_byte_that_is_missing() -> None:
    stream = Scripted(LATER, 30, LATER, 0, 20, 80)
    await stream.begin()
    assert await rest(stream) == CONTENT[10:90]
    assert stream.requests == [(10, 90), (10, 90), (40, 90), (40, 90), (40, 90), (60, 90)]
    assert stream.given_back == [False, False, False, True]
    assert stream.counters.values()[UPSTREAM_RETRIES] == 5


async def test_before_the_first_answer_there_are_few_tries() -> None:
    stream = Scripted(LATER)
    with pytest.raises(
        StorageError, match=f"the object 'a' cannot be read after {FIRST_TRIES} tries: not now"
    ):
        await stream.begin()
    assert len(stream.requests) == FIRST_TRIES


async def test_later_only_tries_without_a_byte_count() -> None:
    stream = Scripted(*[1] * 40, LATER)
    await stream.begin()
    with pytest.raises(StorageError, match=f"after {TRIES} tries"):
        await rest(stream)
    assert stream.left == 40
    assert len(stream.requests) == 40 + TRIES


async def test_an_error_for_good_ends_it_at_once() -> None:
    stream = Scripted(30, StorageError("the object 'a' is missing"))
    await stream.begin()
    with pytest.raises(StorageError, match="is missing"):
        await rest(stream)
    assert len(stream.requests) == 2


async def test_a_source_given_up_on_purpose_is_replaced_without_a_retry() -> None:
    stream = Scripted(80)
    await stream.begin()
    buffer = memoryview(bytearray(30))
    assert stream.recv_into(buffer) == 30
    stream.give_up()
    assert await rest(stream) == CONTENT[40:90]
    assert stream.counters.values()[UPSTREAM_RETRIES] == 0


async def test_nothing_is_asked_for_after_the_end_or_a_close() -> None:
    stream = Scripted(80)
    await stream.begin()
    assert await rest(stream) == CONTENT[10:90]
    await stream.wait_readable()
    stream.close()
    assert stream.requests == [(10, 90)]
    assert stream.given_back == [True]
    closed = Scripted(80)
    await closed.begin()
    closed.close()
    assert closed.given_back == [False]
