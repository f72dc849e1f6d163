"""Faults at chosen moments in real processes: a kill between two steps, and an API on this machine.

`Faults(folder).variables` are the environment of a gateway whose processes may be hurt. `sitecustomize.py` of
`child_faults/` wraps functions of the product in each of them when their modules are imported; the product
itself knows nothing of it.

    faults.arm("inbox.committed")      the next process that comes to this point kills itself there
    faults.arm("import.written", 3)    it does so after it has passed the point three times
    faults.arm(STATEMENT, 20)          it does so after its 21st statement of SQL
    faults.stripe_at(url)              Stripe's API is there, for connections that are asked from now on
    faults.shift_clock(3600)           the clock that signatures are compared with is an hour ahead
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.abc
import importlib.util
import inspect
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

from tests.support.processes import ROOT

VARIABLE = "TEST_FAULTS"

POINTS = {
    "inbox.inserted": ("gateway.connections.inbox", "_insert", "after"),
    "inbox.committed": ("gateway.connections.inbox", "Inbox._write_together", "after"),
    "event.answered": ("gateway.connections.applying", "Applier._apply", "later"),
    "event.written": ("gateway.connections.applying", "_set", "after"),
    "event.applied": ("gateway.connections.applying", "Applier._write", "after"),
    "revocation.begun": ("gateway.orders.enforcing", "Enforcer._enforce", "before"),
    "revocation.first": ("gateway.orders.enforcing", "Enforcer._end", "after"),
    "revocation.noted": ("gateway.orders.enforcing", "Enforcer._enforce", "after"),
}
"""Where a process may be killed: a module, a coroutine function in it, and the moment of its call.

The steps of an event in their order: it is in the transaction of the inbox; that is committed, but nobody has
the answer; the platform has its answer, and nothing is applied; the order is in its transaction; that is
committed; a change of an entitlement was found; the first of its tokens is ended in the store; all of that is
written down. `later`: the call waits before, so that everything else that is due is done first.
"""
WORK_POINTS = {
    "import.inserted": ("gateway.orders.importing.writer", "_write_new", "after"),
    "import.written": ("gateway.orders.importing.importing", "_write", "after"),
    "import.finished": ("gateway.orders.importing.importing", "write_all", "after"),
    "migration.committed": ("gateway.database.migrating", "migrate", "after"),
}
"""The same of work that a command does: rows of an import are in their transaction; that is committed; all of
them are, and nobody was told; the new tables are committed."""
STATEMENT = "database.statement"
"""The point after each statement of SQL, within its transaction."""
LATER_SECONDS = 0.5


class Faults:
    """The faults of the processes that have these variables. folder: of the test, for this alone."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(exist_ok=True)

    @property
    def variables(self) -> dict[str, str]:
        """The environment of the processes."""
        path = os.pathsep.join((str(Path(__file__).with_name("child_faults")), str(ROOT)))
        return {VARIABLE: str(self.folder), "PYTHONPATH": path}

    def arm(self, point: str, passes: int = 0) -> Path:
        """Let one process be killed at a point that it has passed so often. Its file is gone afterwards."""
        assert point in POINTS | WORK_POINTS or point == STATEMENT
        file = self.folder / point
        file.write_text(str(passes))
        return file

    def stripe_at(self, url: str) -> None:
        """Put Stripe's API at another address."""
        (self.folder / "stripe").write_text(url)

    def shift_clock(self, seconds: float) -> None:
        """Put the clock of the web process forward, or back."""
        (self.folder / "clock").write_text(str(seconds))


def install() -> None:
    """Wrap functions of modules as they are imported. Called in a process that starts."""
    changes: dict[str, list[Callable[[ModuleType], None]]] = {}
    for point, (module, name, moment) in (POINTS | WORK_POINTS).items():
        changes.setdefault(module, []).append(_killing(point, name, moment))
    changes.setdefault("gateway.database.engine", []).append(_count_statements)
    changes.setdefault("gateway.platforms.clients.stripe", []).append(_move_stripe)
    changes.setdefault("gateway.connections.receiving", []).append(_shift_clock)
    sys.meta_path.insert(0, _Finder(changes))


class _Finder(importlib.abc.MetaPathFinder):
    def __init__(self, changes: dict[str, list[Callable[[ModuleType], None]]]) -> None:
        self._changes = changes

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        changes = self._changes.pop(name, None)
        spec = None if changes is None else importlib.util.find_spec(name)
        if changes is None or spec is None or spec.loader is None:
            return None
        run = spec.loader.exec_module

        def run_and_change(module: ModuleType) -> None:
            run(module)
            for change in changes:
                change(module)

        spec.loader.exec_module = run_and_change  # type: ignore[method-assign]
        return spec


def _killing(point: str, name: str, moment: str) -> Callable[[ModuleType], None]:
    def change(module: ModuleType) -> None:
        *way, last = name.split(".")
        holder: Any = module
        for part in way:
            holder = getattr(holder, part)
        function = getattr(holder, last)
        assert inspect.iscoroutinefunction(function), f"{name} of {module.__name__} is another function now"

        async def call(*given: Any, **more: Any) -> Any:
            if moment == "later" and _is_armed(point):
                await asyncio.sleep(LATER_SECONDS)
            if moment != "after":
                _die_if_armed(point)
            result = await function(*given, **more)
            if moment == "after":
                _die_if_armed(point)
            return result

        setattr(holder, last, call)

    return change


def _is_armed(point: str) -> bool:
    return (Path(os.environ[VARIABLE]) / point).exists()


def _die_if_armed(point: str) -> None:
    file = Path(os.environ[VARIABLE]) / point
    with contextlib.suppress(FileNotFoundError):
        if passes := int(file.read_text()):
            file.write_text(str(passes - 1))
            return
        file.unlink()
        os.kill(os.getpid(), signal.SIGKILL)


def _count_statements(_module: ModuleType) -> None:
    from sqlalchemy import Engine, event  # noqa: PLC0415 - the module has imported it

    @event.listens_for(Engine, "after_cursor_execute")
    def _executed(*_: Any) -> None:
        _die_if_armed(STATEMENT)


class _ShiftedTime:
    monotonic = staticmethod(time.monotonic)

    @staticmethod
    def time() -> float:
        with contextlib.suppress(FileNotFoundError):
            return time.time() + float((Path(os.environ[VARIABLE]) / "clock").read_text())
        return time.time()


def _shift_clock(module: ModuleType) -> None:
    module.time = _ShiftedTime  # type: ignore[attr-defined]


def _move_stripe(module: ModuleType) -> None:
    original = module.access

    def access(*given: Any) -> Any:
        from dataclasses import replace  # noqa: PLC0415

        found = original(*given)
        with contextlib.suppress(FileNotFoundError):
            return replace(found, base=(Path(os.environ[VARIABLE]) / "stripe").read_text())
        return found

    module.access = access  # type: ignore[attr-defined]
    module.CLIENT = module.CLIENT.__class__(  # type: ignore[attr-defined]
        **{**vars(module.CLIENT), "access": access}
    )
