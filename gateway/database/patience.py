"""How long a request waits for the database, and whether it may have changed anything there.

    with waiting_at_most(8.0) as patience:
        …                                  # transactions of this task end at that time with a DatabaseError
    patience.may_have_changed              # whether one of them came to its COMMIT

It counts for the task that has entered it: work that a request begins for later, such as a job, has no limit
from it. On SQLite only the wait for the lock is limited, because a thread cannot be taken back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Patience:
    """Of one request. deadline: seconds of the event loop's clock. may_have_changed: see the module."""

    deadline: float
    task: asyncio.Task[Any] | None = field(repr=False)
    may_have_changed: bool = False


_PATIENCE: ContextVar[Patience | None] = ContextVar("_PATIENCE", default=None)


@contextmanager
def waiting_at_most(seconds: float) -> Iterator[Patience]:
    """Limit what the transactions of this task may take together."""
    patience = Patience(asyncio.get_running_loop().time() + seconds, asyncio.current_task())
    token = _PATIENCE.set(patience)
    try:
        yield patience
    finally:
        _PATIENCE.reset(token)


def find_patience() -> Patience | None:
    """The limit of the running task, if it has one."""
    patience = _PATIENCE.get()
    return patience if patience is not None and patience.task is asyncio.current_task() else None
