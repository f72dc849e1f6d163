"""Work in the background: done again and again, at once when somebody wakes it, and stopped at a good moment.

`running` starts a piece of work and stops it at its end. What must not be cut in its middle, such as a
transaction, is within `finished_before_stop`: the work is cancelled after it. A driver that is cancelled in a
statement loses its connection, and the thread that waits for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextvars import ContextVar
from typing import Any, Final, NoReturn

LOOK_SECONDS: Final = 0.5
"""How often there is a look, for what other processes have committed, for what is due, and after a crash."""
RETRY_SECONDS: Final = 1.0
"""After a fault of what the work needs."""
STOP_SECONDS: Final = 10.0
"""How long the end of a service waits for what must not be cut. Our transactions take milliseconds."""


class _Stop:
    """The end of a piece of work.

    is_asked: nothing that must be finished begins any more. under_way: the tasks in such a thing. idle: there
    are none. is_over: the work has ended.
    """

    def __init__(self) -> None:
        self.is_asked = False
        self.under_way: Counter[asyncio.Task[Any] | None] = Counter()
        self.idle = asyncio.Event()
        self.idle.set()
        self.is_over = asyncio.Event()


_STOP: ContextVar[_Stop | None] = ContextVar("_STOP", default=None)
"""Of the work that a task belongs to. The tasks that it makes inherit it."""


@contextlib.asynccontextmanager
async def running(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Do some work while the context is entered; cancel it when nothing is under way that must be finished.

    What it does after that, in a `finally`, is waited for.
    """
    stop = _Stop()
    token = _STOP.set(stop)
    try:
        task = asyncio.create_task(work)
    finally:
        _STOP.reset(token)
    try:
        yield
    finally:
        stop.is_asked = True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(STOP_SECONDS):
                await stop.idle.wait()
        task.cancel()
        try:
            with contextlib.suppress(asyncio.CancelledError):
                await task
        finally:
            stop.is_over.set()


@contextlib.asynccontextmanager
async def finished_before_stop() -> AsyncIterator[None]:
    """While this context is entered, `running` does not cancel the work. Once it is to stop, nobody enters.

    The exceptions are who has been cancelled already, for what is to be done at the end, and whoever is in
    such a context. Work that `running` does not know, such as that of a request, is not affected.
    """
    stop = _STOP.get()
    if stop is None:
        yield
        return
    task = asyncio.current_task()
    if stop.is_asked and task is not None and not stop.under_way[task] and not task.cancelling():
        await stop.is_over.wait()
    stop.under_way[task] += 1
    stop.idle.clear()
    try:
        yield
    finally:
        stop.under_way[task] -= 1
        if not stop.under_way[task]:
            del stop.under_way[task]
        if not stop.under_way:
            stop.idle.set()


async def repeat(
    work: Callable[[], Awaitable[bool]],
    wakes: asyncio.Event,
    faults: tuple[type[Exception], ...],
    log: logging.Logger,
    message: str,
) -> NoReturn:
    """Do work until cancelled, when `wakes` is set and every LOOK_SECONDS.

    work: returns whether there may be more to do at once. faults: errors after which it is tried again; the
    first of several in a row is logged with `message`, which has a place for it.

    A cancellation may get lost in the work: `asyncio.wait_for` of Python 3.11, which libraries use, forgets
    one that comes in the turn in which it ends. So it is looked for after each time.
    """
    task = asyncio.current_task()
    failing = False
    while True:
        wakes.clear()
        pause = LOOK_SECONDS
        try:
            while await work() and not (task is not None and task.cancelling()):
                pass
            failing = False
        except faults as error:
            if not failing:
                log.warning(message, error)
            failing = True
            pause = RETRY_SECONDS
        if task is not None and task.cancelling():
            raise asyncio.CancelledError
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(pause):
                await wakes.wait()
