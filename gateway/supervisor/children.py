"""Child processes: starting one, waiting until it is ready, and noticing that it has ended."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import subprocess
import sys
import sysconfig
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import gateway
from gateway.config.settings import Settings
from gateway.errors import GatewayError
from gateway.runtime import signals
from gateway.runtime.listeners import Listener
from gateway.runtime.metrics import Counters, Totals, new_block
from gateway.runtime.system_errors import advise
from gateway.supervisor.child import ChildInput
from gateway.supervisor.pulse import Pulse
from gateway.supervisor.services import Service

READY_SECONDS: Final = 120.0
"""A child that has not reported that it is ready after this time is killed. A start costs about one second of
processor time. A machine with little to spare, or a cold disk, makes half a minute of it, and another start
instead of a slow one would only add to that. A child that cannot start says so or ends."""

KILLED_SECONDS: Final = 5.0
"""How long to wait for the end of a child that got SIGKILL. One that waits for a disk in the kernel does not
end before the disk answers."""

PROGRAM: Final = (sys.executable, "-P", "-m", "gateway.supervisor.child")
"""What a child runs. `-P` keeps the working directory off the module path: a `json.py` that happens to be
there must not be run."""

_log = logging.getLogger("gateway.supervisor")


class Reaper:
    """Collects child processes that have ended, at each SIGCHLD. As PID 1 it collects orphans too."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._watched: dict[asyncio.Future[int], subprocess.Popen[bytes]] = {}

    def watch(self, process: subprocess.Popen[bytes]) -> asyncio.Future[int]:
        """Make a future of the process's return code (minus the signal's number when a signal killed it)."""
        ended: asyncio.Future[int] = self._loop.create_future()
        self._watched[ended] = process
        self._loop.call_soon(self.reap)  # it may have ended already
        return ended

    def reap(self) -> None:
        """Collect every process that has ended. Call this at each SIGCHLD."""
        for ended, process in list(self._watched.items()):
            code = process.poll()
            if code is not None:
                del self._watched[ended]
                if not ended.done():
                    ended.set_result(code)
        if os.getpid() == 1:
            self._reap_orphans()

    def _reap_orphans(self) -> None:
        ours = {process.pid for process in self._watched.values()}
        with contextlib.suppress(ChildProcessError):
            while (found := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)) is not None:
                if found.si_pid in ours:  # it has ended just now: another SIGCHLD follows
                    return
                os.waitpid(found.si_pid, 0)


@dataclass(frozen=True)
class ListeningService:
    """A service of the table, and the address that it is served on.

    passed: where it takes what workers pass on, if it does.
    """

    service: Service
    listener: Listener
    passed: Listener | None = None

    @property
    def name(self) -> str:
        """The service's name."""
        return self.service.name

    def count(self, settings: Settings) -> int:
        """How many processes the settings ask for."""
        return self.service.count(settings)

    def share_passed(self) -> list[int]:
        """The descriptors of the sockets on which it takes what workers pass on: each child has all."""
        return [] if self.passed is None else [each.fileno() for each in self.passed.sockets]

    def close(self) -> None:
        """Close the listeners."""
        self.listener.close()
        if self.passed is not None:
            self.passed.close()


@dataclass(frozen=True)
class ChildStarter:
    """Starts children, and has what every start needs."""

    reaper: Reaper
    totals: Totals
    descriptors: Sequence[int] = ()
    """Every child inherits these: the store's URL may refer to one of them."""

    program: Sequence[str] = PROGRAM
    attempts: int | None = None
    """The memory in which workers count together (`runtime.running_counts`), which every child inherits."""

    children: set[Child] = field(default_factory=set)
    """All children that run, including those that drain."""

    def start(self, listening: ListeningService, slot: int, settings: Settings) -> Child:
        """Start one child; await `Child.ready` for the result. Raises GatewayError."""
        sockets = [each.fileno() for each in listening.listener.share(slot, listening.count(settings))]
        passed = listening.share_passed()
        memory = new_block()
        ready_reader, ready_writer = os.pipe()
        shared = () if self.attempts is None else (self.attempts,)
        values = settings.model_dump(mode="json")
        given = ChildInput(values, sockets, memory, ready_writer, os.getpid(), self.attempts, passed)
        stdin = os.memfd_create("gateway-child-input")  # a pipe would block on text longer than its buffer
        try:
            with open(stdin, "wb", closefd=False) as text:
                text.write(given.encode())
            os.lseek(stdin, 0, os.SEEK_SET)
            with signals.held():
                process = subprocess.Popen(
                    [*self.program, listening.name, str(slot)],
                    stdin=stdin,
                    pass_fds=(*sockets, *passed, memory, ready_writer, *shared, *self.descriptors),
                    env=_environment(),
                )
            child = Child(listening.name, slot, process, ready_reader, Counters(memory), self)
        except OSError as error:
            os.close(ready_reader)
            raise GatewayError(f"{listening.name} {slot} could not start: {advise(error)}") from None
        finally:
            for descriptor in (memory, ready_writer, stdin):
                os.close(descriptor)
        return child


class Child:
    """One child process, from its start to its end."""

    def __init__(
        self,
        role: str,
        slot: int,
        process: subprocess.Popen[bytes],
        ready_reader: int,
        counters: Counters,
        starter: ChildStarter,
    ) -> None:
        """Watch a process that has just started. ready_reader: our end of its pipe (see `ReadyPipe`)."""
        self.role = role
        self.name = f"{role} {slot}"
        self.process = process
        self.pulse = Pulse()
        self.started = time.monotonic()
        self.ended = starter.reaper.watch(process)
        self._loop = asyncio.get_running_loop()
        self._starter = starter
        self._counters = counters
        self._ready_reader = ready_reader
        self._report = b""
        self._reported = self._loop.create_future()
        self._was_terminated = False
        starter.totals.watch(counters)
        starter.children.add(self)
        self._loop.add_reader(ready_reader, self._read_report)
        self.ended.add_done_callback(self._retire)

    @property
    def pid(self) -> int:
        """The process id."""
        return self.process.pid

    @property
    def is_ready(self) -> bool:
        """Whether it has reported that it accepts connections, and has not ended yet."""
        return self._report.startswith(b"+") and not self.ended.done()

    @property
    def last_beat(self) -> int:
        """Its last sign of life (see `runtime.heartbeat`). Not for a child that has ended."""
        return self._counters.last_beat

    async def wait(self, seconds: float) -> bool:
        """Wait until the child ends, for so long at most. Returns whether it has ended."""
        await asyncio.wait([self.ended], timeout=seconds)
        return self.ended.done()

    async def ready(self) -> None:
        """Wait until the child accepts connections.

        Raises GatewayError with the reason when it does not. The process has ended then, or was killed.
        """
        try:
            async with asyncio.timeout(READY_SECONDS):
                await asyncio.shield(self._reported)
                if self._report.startswith(b"+"):
                    return
                await asyncio.shield(self.ended)
        except TimeoutError:
            self.kill()
            await wait_killed([self.ended])
            raise GatewayError(f"{self.name} was not ready after {READY_SECONDS:.0f} s") from None
        reason = (
            self._report[1:].decode(errors="replace") or f"it ended {self.describe_end()} before it was ready"
        )
        raise GatewayError(f"{self.name} could not start: {reason}")

    def terminate(self) -> None:
        """Send SIGTERM, at which the child drains and ends. Further calls do nothing."""
        if not self._was_terminated:
            self._was_terminated = True
            self.process.send_signal(signal.SIGTERM)

    def reopen_logs(self) -> None:
        """Ask the child to open its log files again."""
        self.process.send_signal(signals.REOPEN)

    def kill(self) -> None:
        """Send SIGKILL."""
        self.process.send_signal(signal.SIGKILL)

    def describe_end(self) -> str:
        """How the child ended: `with exit code 1`, `by SIGKILL`."""
        return describe_end(self.ended.result())

    def _read_report(self) -> None:
        received = os.read(self._ready_reader, 4096)
        self._report += received
        if (not received or self._report.startswith(b"+")) and not self._reported.done():
            self._loop.remove_reader(self._ready_reader)
            os.close(self._ready_reader)
            self._reported.set_result(None)

    def _retire(self, _: asyncio.Future[int]) -> None:
        self._starter.children.discard(self)
        self._starter.totals.retire(self._counters)


async def wait_killed(ends: Collection[asyncio.Future[int]]) -> int:
    """Wait for the ends of children that got SIGKILL. Returns how many still run: see KILLED_SECONDS."""
    if not ends:
        return 0
    _, alive = await asyncio.wait(ends, timeout=KILLED_SECONDS)
    return len(alive)


def describe_end(code: int) -> str:
    """Say how a process ended, from its return code."""
    if code >= 0:
        return f"with exit code {code}"
    try:
        return f"by {signal.Signals(-code).name}"
    except ValueError:
        return f"by signal {-code}"


def _environment() -> dict[str, str]:
    """Our own environment, with this very package on the module path when it is not installed."""
    root = str(Path(gateway.__file__).parent.parent)
    if root in (sysconfig.get_path("purelib"), sysconfig.get_path("platlib")):
        return dict(os.environ)
    return os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))}
