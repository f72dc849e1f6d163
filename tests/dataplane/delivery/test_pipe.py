"""How much is moved at once, and what a pipe holds."""

from __future__ import annotations

import asyncio
import fcntl
import os
from collections.abc import Iterator
from contextlib import suppress

import pytest

from gateway.dataplane.delivery.pipe import (
    DEFAULT_PIPE,
    GATHER_BYTES,
    GROWTH,
    LARGE_WINDOW,
    PAUSE_SECONDS,
    SLOW_UNREAD_BYTES,
    SMALL_WINDOW,
    WINDOWS_BEFORE_GROWTH,
    Pipe,
    Window,
)
from tests.support.object_source import Arriving


def test_a_window_grows_for_a_client_that_takes_much_without_a_pause() -> None:
    window = Window()
    assert not window.count_taken(WINDOWS_BEFORE_GROWTH * SMALL_WINDOW - 1)
    assert window.count_taken(1)
    assert window.size == GROWTH * SMALL_WINDOW
    assert window.gather == 1, "a client that is not quick yet holds little"
    assert not window.count_wait(PAUSE_SECONDS / 2)
    while window.size < LARGE_WINDOW:
        window.count_taken(window.size)
    assert not window.count_taken(1 << 30)
    assert window.size == LARGE_WINDOW
    assert window.gather == GATHER_BYTES < LARGE_WINDOW


def test_a_window_shrinks_for_a_client_that_pauses() -> None:
    window = Window()
    window.count_taken(WINDOWS_BEFORE_GROWTH * SMALL_WINDOW)
    assert window.count_wait(PAUSE_SECONDS)
    assert window.size == SMALL_WINDOW
    assert window.unread_limit == SLOW_UNREAD_BYTES
    window.count_taken(WINDOWS_BEFORE_GROWTH * SMALL_WINDOW - 1)
    assert not window.count_wait(60)
    assert not window.count_taken(1), "what was taken before the pause does not count any more"
    assert window.size == SMALL_WINDOW


def test_a_client_is_slow_after_a_pause_with_the_smallest_window() -> None:
    """It is not slow any more when it has taken much again."""
    window = Window()
    assert (window.is_slow, window.unread_limit) == (False, 0), "no client is slow before it has paused"
    assert window.count_wait(PAUSE_SECONDS)
    assert (window.is_slow, window.unread_limit) == (True, SLOW_UNREAD_BYTES)
    assert not window.count_wait(PAUSE_SECONDS), "it was slow already"
    assert window.count_taken(WINDOWS_BEFORE_GROWTH * SMALL_WINDOW)
    assert (window.is_slow, window.unread_limit) == (False, 0)
    while window.size < LARGE_WINDOW:
        window.count_taken(window.size)
    assert window.count_wait(PAUSE_SECONDS)
    assert not window.is_slow, "one pause makes no quick client slow"


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    made = Pipe()
    yield made
    made.close()


async def test_what_is_moved_is_counted(pipe: Pipe) -> None:
    content = os.urandom(300_000)
    stream, sink = Arriving(len(content)).feed(content), Arriving(0)
    got = b""
    while stream.left or pipe.held:
        if not pipe.held:
            try:
                pipe.fill(stream, 20_000)
            except BlockingIOError:
                await asyncio.sleep(0.001)
                continue
            assert 0 < pipe.held <= 20_000
        held = pipe.held
        moved = pipe.drain(sink.socket.fileno())
        assert pipe.held == held - moved
        got += sink.other.recv(moved)
    assert got == content
    silent = Arriving(5)
    with pytest.raises(BlockingIOError):
        pipe.fill(silent, 5)
    silent.close()
    stream.close()
    sink.close()


def test_a_client_that_takes_nothing(pipe: Pipe) -> None:
    stream, sink = Arriving(1_000_000), Arriving(0)
    sent = 0

    def pass_on() -> int:
        if not pipe.held:
            stream.other.send(bytes(10_000))
            pipe.fill(stream, 10_000)
        return pipe.drain(sink.socket.fileno())

    with suppress(BlockingIOError):
        while sent < 1_000_000:
            sent += pass_on()
    assert pipe.held
    assert sent < 1_000_000
    assert len(sink.other.recv(1_000_000)) <= sent
    stream.close()
    sink.close()


def test_a_pipe_is_resized_within_what_the_system_allows(pipe: Pipe) -> None:
    def capacity() -> int:
        return fcntl.fcntl(pipe._write_end, fcntl.F_GETPIPE_SZ)

    pipe.resize(DEFAULT_PIPE * 2)
    assert capacity() in {DEFAULT_PIPE, DEFAULT_PIPE * 2}  # many pipes of one user are kept small
    pipe.resize(SMALL_WINDOW)
    assert capacity() in {DEFAULT_PIPE, DEFAULT_PIPE * 2}
