"""Child processes: starting one, hearing that it is ready, hearing that it has ended."""

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
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import gateway
from gateway.config.settings import Settings
from gateway.errors import GatewayError
from gateway.runtime.listeners import Listener
from gateway.runtime.metrics import Counters, Totals, new_block
from gateway.supervisor.child import ChildInput

READY_SECONDS: Final = 30.0
"""A child that has not said that it is ready by then is given up."""

PROGRAM: Final = (sys.executable, "-P", "-m", "gateway.supervisor.child")
"""Started without the working directory on the module path: a stray `json.py` there must not be run."""

_log = logging.getLogger("gateway.supervisor")


class Reaper:
    """Hears of the ends of child processes, from SIGCHLD; as PID 1, collects orphans too."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._watched: dict[asyncio.Future[int], subprocess.Popen[bytes]] = {}

    def watch(self, process: subprocess.Popen[bytes]) -> asyncio.Future[int]:
        """Give a future of the process's return code (minus the signal's number when one killed it)."""
        ended: asyncio.Future[int] = self._loop.create_future()
        self._watched[ended] = process
        self._loop.call_soon(self.reap)  # it may have ended already
        return ended

    def reap(self) -> None:
        """Collect everything that has ended. Call at each SIGCHLD."""
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
                if found.si_pid in ours:  # ended just now: SIGCHLD comes for it
                    return
                os.waitpid(found.si_pid, 0)


@dataclass(frozen=True)
class Service:
    """What is run on one listener: `role` is the child's program, and one slot or as many as `workers`."""

    role: str
    listener: Listener
    one_a_cpu: bool = False

    def count(self, settings: Settings) -> int:
        """How many slots the settings give it."""
        return settings.workers if self.one_a_cpu else 1


@dataclass(frozen=True)
class ChildStarter:
    """What starting any child takes."""

    reaper: Reaper
    totals: Totals
    descriptors: Sequence[int] = ()
    """Inherited by every child: what the store's URL needs."""

    program: Sequence[str] = PROGRAM
    children: set[Child] = field(default_factory=set)
    """All that run, those that drain included."""

    def start(self, service: Service, slot: int, settings: Settings) -> Child:
        """Start the child of one slot; `Child.ready` tells when it works. Raises GatewayError."""
        sockets = [each.fileno() for each in service.listener.share(slot, service.count(settings))]
        memory = new_block()
        heard, said = os.pipe()
        orders = ChildInput(settings.model_dump(mode="json"), sockets, memory, said, os.getpid())
        told = os.memfd_create("gateway-orders")  # a pipe would block on orders longer than its buffer
        try:
            with open(told, "wb", closefd=False) as text:
                text.write(orders.encode())
            os.lseek(told, 0, os.SEEK_SET)
            process = subprocess.Popen(
                [*self.program, service.role, str(slot)],
                stdin=told,
                pass_fds=(*sockets, memory, said, *self.descriptors),
                env=_environment(),
            )
            child = Child(f"{service.role} {slot}", process, heard, Counters(memory), self)
        except OSError as error:
            os.close(heard)
            raise GatewayError(f"{service.role} {slot} could not start: {error.strerror}") from None
        finally:
            for descriptor in (memory, said, told):
                os.close(descriptor)
        return child


class Child:
    """One child process, from its start to its end."""

    def __init__(
        self, name: str, process: subprocess.Popen[bytes], heard: int, block: Counters, workshop: ChildStarter
    ) -> None:
        self.name = name
        self.process = process
        self.started = time.monotonic()
        self.ended = workshop.reaper.watch(process)
        self._loop = asyncio.get_running_loop()
        self._workshop = workshop
        self._block = block
        self._heard = heard
        self._message = b""
        self._told_to_end = False
        self._answer = self._loop.create_future()
        workshop.totals.watch(block)
        workshop.children.add(self)
        self._loop.add_reader(heard, self._hear)
        self.ended.add_done_callback(self._retire)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.process.pid

    async def ready(self) -> None:
        """Wait until it accepts connections. Raises GatewayError when it does not; it has ended then."""
        try:
            async with asyncio.timeout(READY_SECONDS):
                await asyncio.shield(self._answer)
                if self._message.startswith(b"+"):
                    return
                await asyncio.shield(self.ended)
        except TimeoutError:
            self.kill()
            await asyncio.shield(self.ended)
            raise GatewayError(f"{self.name} was not ready after {READY_SECONDS:.0f} s") from None
        reason = (
            self._message[1:].decode(errors="replace")
            or f"it ended {self.describe_end()} before it was ready"
        )
        raise GatewayError(f"{self.name} could not start: {reason}")

    def terminate(self) -> None:
        """Have it drain and end; again changes nothing."""
        if self._told_to_end:
            return
        self._told_to_end = True
        self.process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it now."""
        self.process.send_signal(signal.SIGKILL)

    def describe_end(self) -> str:
        """How it ended: `with exit code 1`, `by SIGKILL`."""
        return describe_end(self.ended.result())

    def _hear(self) -> None:
        said = os.read(self._heard, 4096)
        self._message += said
        if not said or self._message.startswith(b"+"):
            self._stop_hearing()

    def _stop_hearing(self) -> None:
        if not self._answer.done():
            self._loop.remove_reader(self._heard)
            os.close(self._heard)
            self._answer.set_result(None)

    def _retire(self, _: asyncio.Future[int]) -> None:
        self._workshop.children.discard(self)
        self._workshop.totals.retire(self._block)


def describe_end(code: int) -> str:
    """Say how a process ended, from its return code."""
    if code >= 0:
        return f"with exit code {code}"
    try:
        return f"by {signal.Signals(-code).name}"
    except ValueError:
        return f"by signal {-code}"


def _environment() -> dict[str, str]:
    """Ours, with this very package on the module path when it is not installed."""
    root = str(Path(gateway.__file__).parent.parent)
    if root in (sysconfig.get_path("purelib"), sysconfig.get_path("platlib")):
        return dict(os.environ)
    return os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))}
