"""Coroutines stepped by hand: order, errors, and results for which no coroutine waits."""

from __future__ import annotations

import asyncio
import gc
import logging
import threading

import pytest

from gateway.runtime.deferred import Deferred, in_task, in_thread, step
from tests.support.waiting import until


def test_a_coroutine_goes_on_inside_the_setter() -> None:
    done: list[str] = []
    first, second = Deferred[int](), Deferred[str]()

    async def work() -> None:
        done.append(f"got {await first}")
        done.append(await second)

    step(work())
    assert done == []
    first.set_result(7)
    assert done == ["got 7"]
    second.set_result("end")
    assert done == ["got 7", "end"]


def test_what_is_set_already_is_not_waited_for() -> None:
    done: list[int] = []
    deferred = Deferred[int]()
    deferred.set_result(1)
    deferred.set_result(2)
    deferred.set_exception(ValueError())

    async def work() -> None:
        done.append(await deferred)
        done.append(await deferred)

    step(work())
    assert done == [1, 1]


def test_a_failure_is_raised_where_it_is_waited_for() -> None:
    done: list[str] = []
    deferred = Deferred[int]()

    async def work() -> None:
        try:
            await deferred
        except ValueError as error:
            done.append(str(error))
        finally:
            done.append("finally")

    step(work())
    deferred.set_exception(ValueError("no"))
    deferred.set_result(3)
    assert done == ["no", "finally"]


def test_a_defect_is_logged_and_not_raised_at_the_setter(caplog: pytest.LogCaptureFixture) -> None:
    deferred = Deferred[int]()

    async def work() -> None:
        await deferred
        raise ZeroDivisionError

    step(work())
    with caplog.at_level(logging.ERROR, "gateway"):
        deferred.set_result(1)
    assert "unexpected" in caplog.text


async def test_a_task_waits_by_a_future() -> None:
    deferred = Deferred[int]()
    asyncio.get_running_loop().call_soon(deferred.set_result, 5)
    assert await deferred.as_future() == 5
    assert await deferred.as_future() == 5
    failed = Deferred[int]()
    failed.set_exception(ValueError("no"))
    with pytest.raises(ValueError, match="no"):
        await failed.as_future()
    cancelled = Deferred[int]()
    future = cancelled.as_future()
    future.cancel()
    cancelled.set_result(1)  # has no effect


async def test_a_blocking_function_runs_in_a_thread() -> None:
    names: list[str] = []

    async def work(ended: Deferred[None]) -> None:
        names.append(await in_thread(lambda: threading.current_thread().name))
        try:
            await in_thread(int, "x")
        except ValueError as error:
            names.append(type(error).__name__)
        names.append(threading.current_thread().name)
        ended.set_result(None)

    ended = Deferred[None]()
    step(work(ended))
    await ended.as_future()
    assert names[0] != names[2]
    assert names[1] == "ValueError"


@pytest.mark.slow
async def test_in_task() -> None:
    """A value and an error; the task lives although nothing else refers to it."""
    done: list[object] = []

    async def act(text: str) -> str:
        await asyncio.sleep(0.01)
        if not text:
            raise ValueError("no")
        return text

    async def work() -> None:
        done.append(await in_task(act("yes")))
        try:
            await in_task(act(""))
        except ValueError as error:
            done.append(str(error))

    step(work())
    gc.collect()
    await until(lambda: len(done) == 2)
    assert done == ["yes", "no"]


async def test_a_cancelled_task_ends_what_awaits_it(caplog: pytest.LogCaptureFixture) -> None:
    """Quietly, and its `finally` runs: this is how a process ends."""
    done: list[str] = []
    tasks: list[asyncio.Task[None] | None] = []

    async def act() -> None:
        tasks.append(asyncio.current_task())
        await asyncio.sleep(10)

    async def work() -> None:
        try:
            await in_task(act())
        finally:
            done.append("finally")

    step(work())
    await until(lambda: bool(tasks))
    assert tasks[0] is not None
    tasks[0].cancel()
    await until(lambda: done == ["finally"])
    assert not caplog.records
