"""Long work that somebody has asked for on a page: it goes on when they leave, and anybody can look at it.

The work is done by the web process that was asked. What is known of it is in the store, so that every process
shows it, and for KEEP_SECONDS after its end. A process that ends stops its work, and one that dies leaves a
job without a sign of life, which then is shown as stopped: nothing is lost but time, because what publishing
has read is remembered.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Final

from gateway.database.types import new_id, now
from gateway.errors import Declined, GatewayError, StoreUnavailable
from gateway.store.client import StoreClient
from gateway.store.key_names import JOBS_KEY, job_key
from gateway.web.problems import Problem

_log = logging.getLogger("gateway.web")

KEEP_SECONDS: Final = 7 * 86_400
"""How long a job can be looked at."""
BEAT_SECONDS: Final = 1.0
"""How often a running job writes how far it is."""
SILENT_MS: Final = 30_000
"""A job that has written nothing for so long has no process any more."""
RETRY_SECONDS: Final = 60
"""After which another job may be asked for, where there are too many."""
MOST_RUNNING: Final = 8
"""Jobs of one process at once. They read files one after the other; the others wait."""
SHOWN: Final = 20
MAX_ERROR: Final = 2_000
"""Characters of what went wrong: the faults of a version of many files are many lines."""

WAITING: Final = "waiting"
RUNNING: Final = "running"
DONE: Final = "done"
FAILED: Final = "failed"
STOPPED: Final = "stopped"
STATES: Final = (WAITING, RUNNING, DONE, FAILED, STOPPED)


@dataclass(frozen=True)
class Job:
    """One piece of work. kind: such as `publish`. what: names and values that its page shows. by: who asked.

    done, total: how far it is, in what its kind counts (bytes for `publish`); total 0: nobody knows.
    created, beat: when it was asked for, and its last sign of life; ms since 1970.
    """

    id: str
    kind: str
    by: str
    what: Mapping[str, str] = field(default_factory=dict)
    state: str = WAITING
    done: int = 0
    total: int = 0
    error: str = ""
    created: int = 0
    beat: int = 0

    @property
    def is_over(self) -> bool:
        """Whether nothing happens any more."""
        return self.state not in (WAITING, RUNNING)

    @property
    def percent(self) -> int:
        """How much of it is done."""
        return min(100, 100 * self.done // self.total) if self.total else 0


class Progress:
    """How far a job is. Any thread may add to it."""

    def __init__(self) -> None:
        self.done = 0
        self.total = 0
        self.is_running = False

    def add(self, amount: int) -> None:
        """Tell that so much more is done. From several threads an addition may be lost: it is only shown."""
        self.done += amount


Work = Callable[[Progress], Awaitable[None]]
"""What a job does. It may raise GatewayError or Problem, whose text is then shown."""


class Jobs:
    """The jobs of a store, and those that this process does."""

    def __init__(self, client: StoreClient) -> None:
        self._client = client
        self._running: dict[str, asyncio.Task[None]] = {}

    async def begin(self, kind: str, what: Mapping[str, str], by: str, work: Work) -> Job:
        """Begin some work, and return at once. Raises StoreUnavailable, Problem (overloaded)."""
        if len(self._running) >= MOST_RUNNING:
            text = "There is too much under way already; try again when some is done."
            raise Problem("overloaded", text, headers=[("Retry-After", str(RETRY_SECONDS))])
        moment = now()
        job = Job(new_id(), kind, by, dict(what), created=moment, beat=moment)
        await self._write(job)
        await self._client.call("ZADD", JOBS_KEY, moment, job.id)
        await self._client.call("ZREMRANGEBYSCORE", JOBS_KEY, 0, moment - 1000 * KEEP_SECONDS)
        task = asyncio.create_task(self._run(job, work))
        self._running[job.id] = task
        task.add_done_callback(lambda _: self._running.pop(job.id, None))
        return job

    async def get(self, identifier: str) -> Job | None:
        """A job, or None. Raises StoreUnavailable."""
        return _read(await self._client.call("GET", job_key(identifier)))

    async def latest(self, limit: int = SHOWN) -> list[Job]:
        """The latest jobs, the newest first. Raises StoreUnavailable."""
        identifiers = await self._client.call("ZRANGE", JOBS_KEY, 0, limit - 1, "REV")
        if not identifiers:
            return []
        texts = await self._client.call_all(*(("GET", job_key(each)) for each in identifiers))
        return [job for text in texts if (job := _read(text)) is not None]

    async def stop(self) -> None:
        """Stop what this process does, and note that it was stopped."""
        tasks = list(self._running.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self, job: Job, work: Work) -> None:
        progress = Progress()
        beats = asyncio.create_task(self._beat(job, progress))
        state, error = STOPPED, ""
        try:
            await work(progress)
            state = DONE
        except (Problem, Declined) as refusal:
            state, error = FAILED, _text_of(refusal)
        except GatewayError as failure:
            state, error = FAILED, str(failure)
        except Exception as failure:
            _log.exception("a job failed", exc_info=failure)
            state, error = FAILED, "Something went wrong here; the log of the web process says what."
        finally:
            beats.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await beats
            with contextlib.suppress(StoreUnavailable):
                await self._write(_after(job, progress, state, error))

    async def _beat(self, job: Job, progress: Progress) -> None:
        while True:
            state = RUNNING if progress.is_running else WAITING
            with contextlib.suppress(StoreUnavailable):
                await self._write(_after(job, progress, state, ""))
            await asyncio.sleep(BEAT_SECONDS)

    async def _write(self, job: Job) -> None:
        await self._client.call("SET", job_key(job.id), json.dumps(asdict(job)), "PX", 1000 * KEEP_SECONDS)


def _after(job: Job, progress: Progress, state: str, error: str) -> Job:
    return replace(
        job, state=state, done=progress.done, total=progress.total, error=error[:MAX_ERROR], beat=now()
    )


def _text_of(refusal: Problem | Declined) -> str:
    faults = [f"{name} {text}" for name, text in refusal.faults]
    return "\n".join(faults) or (refusal.detail if isinstance(refusal, Problem) else str(refusal))


def _read(text: str | None) -> Job | None:
    if text is None:
        return None
    job = Job(**json.loads(text))
    if not job.is_over and now() - job.beat > SILENT_MS:
        return replace(job, state=STOPPED)
    return job
