"""Long work goes on by itself, shows how far it is, and ends with what went wrong, on a real store."""

from __future__ import annotations

import asyncio
import json
from dataclasses import asdict, replace

import pytest

from gateway.errors import ConfigurationError, Declined
from gateway.store.key_names import JOBS_KEY, job_key
from gateway.tokens.repositories import Repositories
from gateway.web import jobs
from gateway.web.jobs import DONE, FAILED, RUNNING, STOPPED, WAITING, Job, Jobs, Progress
from gateway.web.problems import Problem


async def ended(known: Jobs, job: Job) -> Job:
    """The job once nothing happens any more."""
    while True:
        found = await known.get(job.id)
        assert found is not None
        if found.is_over:
            return found
        await asyncio.sleep(0.01)


async def test_a_job_shows_how_far_it_is_and_that_it_is_done(
    repos: Repositories, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "BEAT_SECONDS", 0.01)
    known, may_go_on = Jobs(repos.client), asyncio.Event()

    async def work(progress: Progress) -> None:
        progress.total, progress.is_running = 200, True
        progress.add(50)
        await may_go_on.wait()
        progress.add(150)

    job = await known.begin("publish", {"product": "drums"}, "ann", work)
    assert (job.state, job.what, job.by) == (WAITING, {"product": "drums"}, "ann")
    found = job
    while found.done != 50:
        found = await known.get(job.id) or found
    assert (found.state, found.done, found.total, found.percent) == (RUNNING, 50, 200, 25)
    assert (await Jobs(repos.client).get(job.id)) is not None, "every process shows it"
    may_go_on.set()
    over = await ended(known, job)
    assert (over.state, over.percent, over.error) == (DONE, 100, "")


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (Problem("product_unknown", "There is no such product."), "There is no such product."),
        (
            Problem("invalid_request", "Wrong.", [("name", "is long"), ("key", "is gone")]),
            "name is long\nkey is gone",
        ),
        (Declined("version_conflict", "it exists with other files"), "it exists with other files"),
        (ConfigurationError(["one", "two"]), "one"),
        (ValueError("with a secret"), "Something went wrong here"),
        (Problem("not_found", "x" * 10_000), "x" * jobs.MAX_ERROR),
    ],
)
async def test_a_job_that_fails_says_why(repos: Repositories, error: Exception, text: str) -> None:
    async def work(_: Progress) -> None:
        raise error

    known = Jobs(repos.client)
    over = await ended(known, await known.begin("publish", {}, "ann", work))
    assert over.state == FAILED
    assert text in over.error
    assert "secret" not in over.error
    assert len(over.error) <= jobs.MAX_ERROR


async def test_a_process_that_ends_stops_its_jobs(repos: Repositories) -> None:
    known, begun = Jobs(repos.client), asyncio.Event()

    async def work(_: Progress) -> None:
        begun.set()
        await asyncio.Event().wait()

    job = await known.begin("publish", {}, "ann", work)
    await begun.wait()
    await known.stop()
    assert (await ended(known, job)).state == STOPPED


async def test_a_job_of_a_process_that_died_is_shown_as_stopped(repos: Repositories) -> None:
    job = Job("0" * 26, "publish", "ann", state=RUNNING, created=1, beat=1)
    await repos.client.call("SET", job_key(job.id), json.dumps(asdict(job)))
    found = await Jobs(repos.client).get(job.id)
    assert found == replace(job, state=STOPPED)


async def test_the_latest_jobs_come_first_and_old_ones_leave_the_list(
    repos: Repositories, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work(_: Progress) -> None:
        """Do nothing."""

    moments = iter([1_000, 2_000, 10**9])
    known = Jobs(repos.client)
    made = []
    for _ in range(3):
        moment = next(moments)
        monkeypatch.setattr(jobs, "now", lambda moment=moment: moment)
        made.append(await ended(known, await known.begin("publish", {}, "ann", work)))
    assert [each.id for each in await known.latest()] == [made[2].id]
    assert await repos.client.call("ZCARD", JOBS_KEY) == 1
    assert await known.latest(1) == [made[2]]


async def test_only_so_many_jobs_run_at_once(repos: Repositories, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "MOST_RUNNING", 1)

    async def work(_: Progress) -> None:
        await asyncio.Event().wait()

    known = Jobs(repos.client)
    await known.begin("publish", {}, "ann", work)
    with pytest.raises(Problem, match="overloaded"):
        await known.begin("publish", {}, "ann", work)
    await known.stop()
    assert await known.get("nothing") is None
