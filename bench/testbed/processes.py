"""Start programs, and stop exactly those, whatever happens.

A `ProcessGroup` is a context manager. At its end it stops every program that it started, by process id, also
after Ctrl-C or an exception. Should this process be killed outright, the kernel stops them (see
gateway.runtime.parent_death, which is why programs are started from the main thread only).

All programs stay in our session. Linux gives each session an equal share of a CPU
(`sched_autogroup_enabled`), and SCHED_IDLE, by which the slow clients give way to other programs, has no
effect across sessions. When each program had a session of its own, the slow clients held up the generator
beside them for 2 to 4 ms, a hundred times a second, and the generator took that for the server's latency.
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
from bench.testbed.usage import descendants, listening_ports
from gateway.runtime.parent_death import die_with_parent

STOP_SECONDS = 5.0
READY_SECONDS = 20.0
POLL_SECONDS = 0.02
QUOTED_BYTES = 2000


class Program:
    """One started program. Its standard error goes to a file, whose end is quoted when the program fails."""

    def __init__(self, name: str, process: subprocess.Popen[bytes], log: Path) -> None:
        self.name = name
        self.process = process
        self.log = log

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.process.pid

    def pids(self) -> list[int]:
        """The ids of the program's process and of its descendants, as they are now."""
        return descendants(self.pid)

    def check(self) -> None:
        """Raise BenchError, which quotes what the program wrote last, if it has ended by itself."""
        code = self.process.poll()
        if code is not None:
            raise BenchError(f"{self.name} ended with code {code}: {self.last_errors()}")

    def last_errors(self) -> str:
        """The end of what the program wrote to standard error."""
        text = self.log.read_bytes()[-QUOTED_BYTES:].decode(errors="replace").strip()
        return text or "it wrote nothing"

    def wait_for(self, host: str, port: int) -> None:
        """Return once the program accepts connections. Raises BenchError if it ends or takes too long."""
        deadline = time.monotonic() + READY_SECONDS
        while time.monotonic() < deadline:
            self.check()
            with contextlib.suppress(OSError), socket.create_connection((host, port), 1):
                return
            time.sleep(POLL_SECONDS)
        waited = f"after {READY_SECONDS:g} s: {self.last_errors()}"
        raise BenchError(f"{self.name} does not listen on {host}:{port} {waited}")

    def wait_for_port(self) -> int:
        """Return the one TCP port that the program listens on, as soon as it does.

        For programs that are started with port 0; the port is read from the kernel. Raises BenchError if the
        program ends, takes too long, or listens on several ports.
        """
        deadline = time.monotonic() + READY_SECONDS
        while time.monotonic() < deadline:
            self.check()
            ports = listening_ports(self.pids())
            if len(ports) > 1:
                raise BenchError(f"{self.name} listens on several ports: {sorted(ports)}")
            if ports:
                return ports.pop()
            time.sleep(POLL_SECONDS)
        raise BenchError(
            f"{self.name} does not listen on any port after {READY_SECONDS:g} s: {self.last_errors()}"
        )

    def wait_for_end(self, seconds: float, each_second: Callable[[], None] | None = None) -> None:
        """Return once the program has ended. Its CPU clock can still be read, until `stop` reaps it.

        each_second: called once a second meanwhile. Raises BenchError after so many seconds.
        """
        began = called = time.monotonic()
        while os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            now = time.monotonic()
            if now > began + seconds:
                raise BenchError(f"{self.name} did not end after {seconds:g} s: {self.last_errors()}")
            if each_second is not None and now >= called + 1:
                called += 1
                each_second()
            time.sleep(0.01)

    def output(self) -> str:
        """Everything that the program writes to standard output. Raises BenchError if the program fails."""
        assert self.process.stdout is not None
        with self.process.stdout as pipe:
            text = pipe.read().decode(errors="replace")
        if self.process.wait():
            self.check()
        return text

    def stop(self) -> None:
        """Send SIGTERM, and SIGKILL if the program has not ended after STOP_SECONDS."""
        for signum in (signal.SIGTERM, signal.SIGKILL):
            if self.process.poll() is None:
                self.process.send_signal(signum)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self.process.wait(STOP_SECONDS)
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()


class ProcessGroup:
    """Programs that are stopped together at the end of a `with` block. folder: for their errors."""

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
        """Start a program on these CPUs only. environ: variables besides our own. Raises BenchError."""
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
                    process_group=0,  # Ctrl-C reaches only us, and we stop programs in order
                    preexec_fn=partial(_prepare, parent, frozenset(cpus)),  # noqa: PLW1509 - no threads here
                )
            except OSError as error:
                raise BenchError(f"{name} could not start: {error.strerror}") from None
        program = Program(name, process, log)
        self._programs.append(program)
        return program

    def stop(self, program: Program) -> None:
        """Stop one program before the others."""
        program.stop()
        self._programs.remove(program)


def _prepare(parent: int, cpus: frozenset[int]) -> None:
    os.sched_setaffinity(0, cpus)
    die_with_parent(signal.SIGTERM, parent)


def unused_port() -> int:
    """A TCP port of 127.0.0.1 on which nobody listens now.

    Only for programs that must be given a number, as nginx must: it takes no port 0. Another program could
    take the port before it is used; in a network namespace of our own there is no other program.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def raise_file_limit() -> int:
    """Allow as many open files as the system permits, also for programs started later. Returns the limit."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


@contextlib.contextmanager
def stopped_by_signals() -> Iterator[None]:
    """Within the block SIGTERM and SIGHUP raise SystemExit, so that everything is stopped and removed."""

    def end(signum: int, _frame: object) -> None:
        raise SystemExit(128 + signum)

    before = {signum: signal.signal(signum, end) for signum in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)
