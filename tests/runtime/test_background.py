"""Work in the background ends between the things that must be finished, and tidies up at its end."""

from __future__ import annotations

import asyncio
import contextlib
import logging

import pytest

from gateway.runtime import background
from gateway.runtime.background import finished_before_stop, repeat, running


class Work:
    """Does one thing after another, each of which takes two turns of the loop."""

    def __init__(self) -> None:
        self.begun = self.finished = self.cleaned = 0
        self.has_begun = asyncio.Event()
        self.may_go_on = asyncio.Event()

    async def do(self) -> None:
        async with finished_before_stop():
            self.begun += 1
            self.has_begun.set()
            await self.may_go_on.wait()
            async with finished_before_stop():  # a part of it
                await asyncio.sleep(0)
            self.finished += 1

    async def repeat(self) -> None:
        try:
            while True:
                await self.do()
        finally:
            await self.do()
            self.cleaned += 1

    async def repeat_twice(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.repeat())
            tasks.create_task(self.repeat())


async def test_what_is_under_way_is_finished_and_nothing_else_begins() -> None:
    for twice in (False, True):
        work = Work()
        async with running(work.repeat_twice() if twice else work.repeat()):
            await work.has_begun.wait()
            asyncio.get_running_loop().call_later(0.02, work.may_go_on.set)
        count = 1 + twice
        assert (work.begun, work.finished, work.cleaned) == (2 * count, 2 * count, count)


async def test_what_waits_for_nothing_is_cancelled_at_once() -> None:
    ended: list[str] = []

    async def wait() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("wait")

    async with running(wait()):
        await asyncio.sleep(0)
    assert ended == ["wait"]


async def test_what_does_not_end_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "STOP_SECONDS", 0.01)
    work = Work()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(60):
            async with running(work.do()):
                await work.has_begun.wait()
            assert (work.begun, work.finished) == (1, 0)
            return
    raise AssertionError("it was waited for")


async def test_a_task_that_outlives_the_work_goes_on() -> None:
    work = Work()
    others: list[asyncio.Task[None]] = []

    async def begin_another() -> None:
        async with finished_before_stop():
            others.append(asyncio.create_task(work.do()))
            await work.has_begun.wait()
        await asyncio.Event().wait()

    async with running(begin_another()):
        await work.has_begun.wait()
        asyncio.get_running_loop().call_later(0.02, work.may_go_on.set)
    [other] = others
    await other
    assert work.finished == 1


async def test_others_know_nothing_of_it() -> None:
    work = Work()
    work.may_go_on.set()
    await work.do()
    assert work.finished == 1


@pytest.mark.parametrize("has_more", [False, True])
@pytest.mark.parametrize("fails", [False, True])
async def test_a_cancellation_that_the_work_has_swallowed_ends_it_all_the_same(
    *, has_more: bool, fails: bool
) -> None:
    begun = asyncio.Event()

    async def swallow() -> bool:
        begun.set()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(3600)
        if fails:
            raise ValueError
        return has_more

    async def repeat_beside_others() -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(
                repeat(swallow, asyncio.Event(), (ValueError,), logging.getLogger("test"), "%s")
            )

    async with asyncio.timeout(60), running(repeat_beside_others()):
        await begun.wait()
