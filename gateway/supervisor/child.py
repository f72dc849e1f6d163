"""What runs in a child process: `python -m gateway.supervisor.child worker 0`, started by the supervisor.

Its orders come as JSON on standard input: the settings, and the numbers of the descriptors it inherits
(listening sockets, its block of counters, the pipe to say "ready" on). Rules:
1. It ends when its parent dies: SIGTERM from the kernel, which drains as any SIGTERM does.
2. It leaves SIGINT and SIGHUP to the supervisor: a terminal sends them to the whole group.
3. It says `+` on the pipe when it accepts connections, or `-` and one line when it cannot start.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any

from gateway.config.settings import Settings
from gateway.errors import GatewayError
from gateway.runtime import log
from gateway.runtime.metrics import Counters
from gateway.runtime.parent_death import die_with_parent

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ChildInput:
    """What a child is told. Descriptors are given by their numbers; `parent` is the supervisor's pid."""

    settings: dict[str, Any]
    sockets: list[int]
    counters: int
    ready: int
    parent: int

    def encode(self) -> bytes:
        """Make the JSON text for the child's standard input."""
        return json.dumps(asdict(self)).encode()


class ReadyPipe:
    """The child's end of the pipe on which it tells its supervisor how its start went. Call it when ready."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor: int | None = descriptor

    def __call__(self) -> None:
        """Say that connections are accepted from now on; again changes nothing."""
        self._say(b"+")

    def fail(self, reason: str) -> bool:
        """Say why the start failed; False when it had succeeded, so that nobody listens any more."""
        return self._say(b"-" + reason.encode(errors="replace")[:2000])

    def _say(self, message: bytes) -> bool:
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is None:
            return False
        with suppress(OSError):
            os.write(descriptor, message)
        os.close(descriptor)
        return True


@dataclass(frozen=True)
class ChildContext:
    """Where a child finds itself: everything a program needs to run."""

    settings: Settings
    sockets: list[socket.socket]
    slot: int
    counters: Counters
    ready: Callable[[], None]


def run_worker(place: ChildContext) -> None:
    """Serve downloads until SIGTERM."""
    from gateway.dataplane import worker  # noqa: PLC0415 - each program loads only its own parts

    worker.run(place.settings, place.sockets, place.slot, place.counters, place.ready)


def run_mint(place: ChildContext) -> None:
    """Serve the mint API until SIGTERM."""
    from gateway.mint import service  # noqa: PLC0415

    service.run(place.settings, place.sockets, place.ready)


PROGRAMS: Mapping[str, Callable[[ChildContext], None]] = {"worker": run_worker, "mint": run_mint}


def main(arguments: Sequence[str], programs: Mapping[str, Callable[[ChildContext], None]] = PROGRAMS) -> int:
    """Run the program that the arguments name (`worker 0`), to its end. Returns the exit code."""
    role, slot = arguments
    orders = ChildInput(**json.load(sys.stdin.buffer))
    for signum in (signal.SIGINT, signal.SIGHUP):
        signal.signal(signum, signal.SIG_IGN)
    die_with_parent(signal.SIGTERM, orders.parent)
    ready = ReadyPipe(orders.ready)
    try:
        settings = Settings.model_validate(orders.settings)
        log.configure(settings)
        counters = Counters(orders.counters)
        os.close(orders.counters)
        for descriptor in (*orders.sockets, orders.ready):
            os.set_inheritable(descriptor, False)
        sockets = [socket.socket(fileno=descriptor) for descriptor in orders.sockets]
        programs[role](ChildContext(settings, sockets, int(slot), counters, ready))
    except GatewayError as error:
        if not ready.fail(str(error)):
            _log.error("%s", error)
        return 1
    except Exception as error:
        _log.exception("an unexpected error ended %s %s", role, slot)
        ready.fail(f"unexpected {type(error).__name__}; the log above has more")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
