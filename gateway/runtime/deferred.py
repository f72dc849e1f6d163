"""Results that are not there yet, and coroutines without tasks that await them.

A task and a future cost about 15 µs a request. A request's coroutine here awaits nothing but Deferreds, each
of which is set exactly once, by a callback. So it is enough to step the coroutine by hand. The rules:

- Every Deferred is set in the end: the code that makes it also handles time-outs and lost connections. So a
  coroutine never has to be cancelled, and its `finally` always runs.
- Setting a Deferred runs the coroutine that awaits it at once, inside the setter.
- A task awaits a Deferred by `Deferred.as_future()`, and a coroutine awaits the end of a task by `in_task`.
- What is too short for a coroutine (which costs about 1 µs) uses `Deferred.add_done_callback`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Generator
from typing import Any, Final, Generic, TypeVar

A = TypeVar("A")
T = TypeVar("T")

_log = logging.getLogger("gateway")
_running: Final[set[asyncio.Task[Any]]] = set()
"""Tasks that nobody else holds: the event loop keeps only weak references to them."""


class Deferred(Generic[T]):
    """The result of one step that is not there yet: a value or an error. It is set once and awaited once."""

    # Defaults of the class instead of an __init__: most are never changed, and one is made for every request.
    done = False
    _value: Any = None
    _error: BaseException | None = None
    _callback: Callable[[Any, Any], None] | None = None
    _argument: Any = None
    _coroutine: Coroutine[Deferred[Any], None, Any] | None = None

    def set_result(self, value: T) -> None:
        """Set the value; the coroutine that awaits it goes on at once. Does nothing if it is set already."""
        if self.done:
            return
        self.done = True
        self._value = value
        if self._callback is not None:
            self._callback(self, self._argument)
        elif self._coroutine is not None:
            step(self._coroutine)

    def set_exception(self, error: BaseException) -> None:
        """Set an error, which is raised in the coroutine that awaits. Does nothing if it is set already."""
        if self.done:
            return
        self.done = True
        self._error = error
        if self._callback is not None:
            self._callback(self, self._argument)
        elif self._coroutine is not None:
            step(self._coroutine)

    def __await__(self) -> Generator[Deferred[Any], None, T]:
        if not self.done:
            yield self
        return self.result()

    @property
    def value(self) -> T | None:
        """The value, if it is set; None before, and after an error."""
        return self._value  # type: ignore[no-any-return]

    def result(self) -> T:
        """The value. Raises the error, if there is one."""
        if self._error is not None:
            raise self._error
        return self._value  # type: ignore[no-any-return]

    def add_done_callback(self, function: Callable[[Any, A], None], argument: A) -> None:
        """Call `function(self, argument)` inside the setter, or at once if the result is set already.

        The function must not raise. This replaces awaiting: do one or the other. The argument must not lead
        back to this object: that would make a cycle, which only the garbage collector frees (16 ms for
        50,000).
        """
        if self.done:
            function(self, argument)
        else:
            self._callback, self._argument = function, argument

    def as_future(self) -> asyncio.Future[T]:
        """The same result as an asyncio future, for a task to await."""
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()

        self.add_done_callback(_copy, future)
        return future


def _copy(deferred: Deferred[T], future: asyncio.Future[T]) -> None:
    if future.cancelled():
        return
    if deferred._error is not None:
        future.set_exception(deferred._error)
    else:
        future.set_result(deferred._value)


def step(coroutine: Coroutine[Deferred[Any], None, Any]) -> None:
    """Run a coroutine until it ends, or awaits a Deferred that is not set; go on when that one is set.

    An exception that leaves the coroutine is a defect: it is logged, and never raised in the setter.
    """
    try:
        waiting = coroutine.send(None)
    except (StopIteration, asyncio.CancelledError):  # only the end of the process cancels anything
        return
    except Exception:
        _log.exception("a request ended by an unexpected error")
        return
    waiting._coroutine = coroutine


def stepped(work: Coroutine[Deferred[Any], None, T]) -> Deferred[T]:
    """Step a coroutine for a task that awaits its end. Returns a Deferred of what it returns or raises."""
    deferred: Deferred[T] = Deferred()

    async def run() -> None:
        try:
            deferred.set_result(await work)
        except Exception as error:
            deferred.set_exception(error)

    step(run())
    return deferred


def in_thread(function: Callable[..., T], *arguments: Any) -> Deferred[T]:
    """Run a blocking function in a thread of the loop's pool. Returns a Deferred of its result or error."""
    loop = asyncio.get_running_loop()
    deferred: Deferred[T] = Deferred()

    def finish(future: asyncio.Future[T]) -> None:
        error = future.exception()
        if error is not None:
            deferred.set_exception(error)
        else:
            deferred.set_result(future.result())

    loop.run_in_executor(None, function, *arguments).add_done_callback(finish)
    return deferred


def in_task(work: Coroutine[Any, Any, T]) -> Deferred[T]:
    """Run a coroutine as a task, because it awaits more than Deferreds.

    Returns a Deferred of what it returns or raises. If the task is cancelled, that is a CancelledError.
    """
    deferred: Deferred[T] = Deferred()
    task = asyncio.get_running_loop().create_task(work)
    _running.add(task)

    def finish(task: asyncio.Task[T]) -> None:
        _running.discard(task)
        error = asyncio.CancelledError() if task.cancelled() else task.exception()
        if error is not None:
            deferred.set_exception(error)
        else:
            deferred.set_result(task.result())

    task.add_done_callback(finish)
    return deferred
