"""The program of a child process: `python -m gateway.supervisor.child worker 0`, started by the supervisor.

The arguments are the name of a service and the number of the process among those of the same service.
Standard input has a `ChildInput` as JSON. Rules:

1. The child ends when its parent dies: the kernel sends it SIGTERM, and it drains as after any SIGTERM.
2. What signals mean to a child is told in `runtime/signals.py`. A service may handle SIGUSR1; otherwise the
   child ignores it.
3. The child writes `+` to the pipe when it accepts connections, or `-` and one line when it cannot start.
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
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any, Final, TypeAlias

from gateway.config.settings import Settings
from gateway.errors import GatewayError
from gateway.runtime import heartbeat, log, signals
from gateway.runtime.attempts import AttemptTable
from gateway.runtime.descriptors import raise_limit
from gateway.runtime.metrics import Counters
from gateway.runtime.parent_death import die_with_parent
from gateway.supervisor.services import SERVICES, Service

MAX_REASON_BYTES: Final = 2000
"""How much of the reason for a failed start goes to the supervisor: it fits into any pipe."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ChildInput:
    """What the supervisor hands to a child. Descriptors, which the child inherits, are given by number."""

    settings: dict[str, Any]
    sockets: list[int]
    counters: int
    """The memory for its counters (see `runtime.metrics`)."""

    ready: int
    """The pipe on which the child reports how its start went."""

    parent: int
    """The supervisor's process id."""

    attempts: int | None = None
    """The memory in which the processes of a service count together (see `runtime.running_counts`)."""
    passed: list[int] = field(default_factory=list)
    """The sockets on which it takes what workers pass on."""

    def encode(self) -> bytes:
        """Make the JSON text for the child's standard input."""
        return json.dumps(asdict(self)).encode()


class ReadyPipe:
    """The child's end of the pipe on which it reports how its start went. Call it once it is ready."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor: int | None = descriptor

    def __call__(self) -> None:
        """Report that connections are accepted from now on. Further calls do nothing."""
        self._write(b"+")

    def fail(self, reason: str) -> bool:
        """Report why the start failed. Returns False after a successful start: nobody reads the pipe then."""
        return self._write(b"-" + reason.encode(errors="replace")[:MAX_REASON_BYTES])

    def _write(self, message: bytes) -> bool:
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is None:
            return False
        with suppress(OSError):
            os.write(descriptor, message)
        os.close(descriptor)
        return True


@dataclass(frozen=True)
class ChildContext:
    """Everything that a service may need from its process. A row of the table names what it is given."""

    settings: Settings
    sockets: list[socket.socket]
    """Listening already, and shared with the supervisor, which keeps them open."""

    slot: int
    """The number of this process among those of the same service."""

    counters: Counters
    ready: Callable[[], None]
    """The service calls it in its event loop, once it accepts connections. From then on it is watched."""

    attempts: AttemptTable | None = None
    """Counts of refused attempts, and behind them of what runs, which all workers of this machine share."""
    passed: list[socket.socket] = field(default_factory=list)
    """Like `sockets`: those on which it takes the requests that workers pass on."""


Program: TypeAlias = Callable[[ChildContext], None]


def run_service(service: Service, context: ChildContext) -> None:
    """Import a service and run it until SIGTERM."""
    service.load_runner()(**{name: getattr(context, name) for name in service.arguments})


PROGRAMS: Final[Mapping[str, Program]] = {service.name: partial(run_service, service) for service in SERVICES}


def main(arguments: Sequence[str], programs: Mapping[str, Program] = PROGRAMS) -> int:
    """Run the service that the arguments name (`worker 0`) to its end. Returns the exit code."""
    name, slot = arguments
    given = ChildInput(**json.load(sys.stdin.buffer))
    signals.ignore(*signals.STRAY, *signals.OF_TERMINALS, signals.REOPEN)
    signals.unblock()
    die_with_parent(signal.SIGTERM, given.parent)
    ready = ReadyPipe(given.ready)
    raise_limit()
    try:
        settings = Settings.model_validate(given.settings)
        log.configure(settings)
        counters = Counters(given.counters)
        os.close(given.counters)
        attempts = None
        if given.attempts is not None:
            attempts = AttemptTable(given.attempts)
            os.close(given.attempts)
        for descriptor in (*given.sockets, *given.passed, given.ready):
            os.set_inheritable(descriptor, False)
        sockets, passed = (
            [socket.socket(fileno=descriptor) for descriptor in each]
            for each in (given.sockets, given.passed)
        )

        def accept() -> None:
            heartbeat.start(counters)
            ready()

        programs[name](ChildContext(settings, sockets, int(slot), counters, accept, attempts, passed))
    except GatewayError as error:
        if not ready.fail(str(error)):
            _log.error("%s", error)
        return 1
    except Exception as error:
        _log.exception("an unexpected error ended %s %s", name, slot)
        ready.fail(f"unexpected {type(error).__name__}; the log above has more")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
