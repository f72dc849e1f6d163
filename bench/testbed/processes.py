"""Starting programs and stopping exactly those, whatever happens.

A `Crew` is a context: what it started is stopped by pid at its end, also after Ctrl-C or an exception; and
the kernel stops it should we be killed outright. Start programs from the main thread only (see
gateway.runtime.parent_death).

All stay in our session: Linux gives each session an equal share of a CPU (`sched_autogroup_enabled`), and
SCHED_IDLE, by which the slow clients give way, means nothing beyond its own. With a session for each they
held the generator beside them for 2 to 4 ms a hundred times a second, and it took that for the server's.
"""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import IO, Self

from bench.errors import BenchError
from bench.testbed.usage import descendants
from gateway.runtime.parent_death import die_with_parent

STOP_SECONDS = 5.0
READY_SECONDS = 20.0
QUOTED_BYTES = 2000


class Program:
    """One started program. Its standard error goes to a file, which is quoted when it fails."""

    def __init__(self, name: str, process: subprocess.Popen[bytes], log: Path) -> None:
        self.name = name
        self.process = process
        self.log = log

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.process.pid

    def pids(self) -> list[int]:
        """It and its descendants, as they are now."""
        return descendants(self.pid)

    def check(self) -> None:
        """Raise BenchError, with the last lines it wrote, when it has ended by itself."""
        code = self.process.poll()
        if code is not None:
            raise BenchError(f"{self.name} ended with code {code}: {self.quote()}")

    def quote(self) -> str:
        """The end of what it wrote on standard error."""
        text = self.log.read_bytes()[-QUOTED_BYTES:].decode(errors="replace").strip()
        return text or "it said nothing"

    def wait_for(self, host: str, port: int) -> None:
        """Until it accepts connections. Raises BenchError when it ends, or takes too long."""
        deadline = time.monotonic() + READY_SECONDS
        while time.monotonic() < deadline:
            self.check()
            with contextlib.suppress(OSError), socket.create_connection((host, port), 1):
                return
            time.sleep(0.02)
        late = f"after {READY_SECONDS:g} s: {self.quote()}"
        raise BenchError(f"{self.name} did not listen on {host}:{port} {late}")

    def wait_for_end(self, seconds: float, each_second: Callable[[], None] | None = None) -> None:
        """Until it has ended, without collecting it: its CPU clock can be read until `stop`.

        Raises BenchError when that takes longer than told.
        """
        began = said = time.monotonic()
        while os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            now = time.monotonic()
            if now > began + seconds:
                raise BenchError(f"{self.name} did not end after {seconds:g} s: {self.quote()}")
            if each_second is not None and now >= said + 1:
                said += 1
                each_second()
            time.sleep(0.01)

    def output(self) -> str:
        """What it wrote on standard output, to the end of it. Raises BenchError when it failed."""
        assert self.process.stdout is not None
        with self.process.stdout as pipe:
            text = pipe.read().decode(errors="replace")
        if self.process.wait():
            self.check()
        return text

    def stop(self) -> None:
        """Ask it to end, and make it end when it does not."""
        for signum in (signal.SIGTERM, signal.SIGKILL):
            if self.process.poll() is None:
                self.process.send_signal(signum)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self.process.wait(STOP_SECONDS)
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()


class Crew:
    """Programs started together, stopped together. A context manager."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._programs: list[Program] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        while self._programs:
            self._programs.pop().stop()

    def start(
        self,
        name: str,
        command: Sequence[str | Path],
        *,
        cpus: Sequence[int],
        environ: Mapping[str, str] | None = None,
        stdin: int | IO[bytes] | None = subprocess.DEVNULL,
        stdout: int | IO[bytes] | None = subprocess.DEVNULL,
    ) -> Program:
        """Start a program on these CPUs only. environ: what is set besides our own environment."""
        log = self.folder / f"{name}.{len(self._programs)}.err"
        parent = os.getpid()
        with log.open("wb") as errors:
            try:
                process = subprocess.Popen(
                    [str(part) for part in command],
                    stdin=stdin,
                    stdout=stdout,
                    stderr=errors,
                    env={**os.environ, **(environ or {})},
                    process_group=0,  # a Ctrl-C is ours to pass on, in order; no session: see the top
                    preexec_fn=partial(_prepare, parent, frozenset(cpus)),  # noqa: PLW1509 - no threads here
                )
            except OSError as error:
                raise BenchError(f"{name} could not start: {error.strerror}") from None
        program = Program(name, process, log)
        self._programs.append(program)
        return program

    def stop(self, program: Program) -> None:
        """Stop one before the others."""
        program.stop()
        self._programs.remove(program)


def _prepare(parent: int, cpus: frozenset[int]) -> None:
    os.sched_setaffinity(0, cpus)
    die_with_parent(signal.SIGTERM, parent)


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def raise_file_limit() -> int:
    """Allow as many open files as the system lets us; programs started from here inherit it. Returns it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


@contextlib.contextmanager
def stopped_by_signals() -> Iterator[None]:
    """SIGTERM and SIGHUP end the block as Ctrl-C does, so that everything is stopped and removed."""

    def end(signum: int, _frame: object) -> None:
        raise SystemExit(128 + signum)

    before = {signum: signal.signal(signum, end) for signum in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)
