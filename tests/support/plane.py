"""The data plane under test: real workers and a real store.

A `Plane` is one or more workers (`gateway.supervisor.child`, as the supervisor starts them) on one port, with
a folder of files. What is published there is in publications.py, and who asks for it in http_client.py.
"""

from __future__ import annotations

import json
import os
import signal
import ssl
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import redis

from gateway.config.settings import Settings
from gateway.runtime.listeners import Listener
from gateway.runtime.metrics import FAULTS, Counters, new_block
from gateway.runtime.running_counts import new_memory
from gateway.supervisor.child import ChildInput
from tests.support.backends import Backend, Folder
from tests.support.http_client import Client, Response
from tests.support.processes import ROOT
from tests.support.publications import Publications
from tests.support.store_server import run_store
from tests.support.waiting import wait_until
from tests.support.worker_server import ForkedProcess, worker_server

READY_SECONDS = 60

Process = subprocess.Popen[bytes] | ForkedProcess
NO_SETTINGS = ("own_url", "lease_times", "patience", "descriptors", "restarts")
"""Options of a plane that are no settings; lease_times: seconds, as in `leases.Times`; patience: seconds, see
worker_program.py; descriptors: the hard limit of each worker; restarts: whether `restart` will be called."""
PATIENCE_SECONDS = 30
"""How long workers wait for the store and for each other, unless a test is about just that: on a busy machine
each of them may stand still for seconds."""


def whole_lines(log: Path) -> list[str]:
    """The lines of a log that another process writes; the last one may be there in part as yet."""
    return log.read_text().rpartition("\n")[0].splitlines()


@dataclass
class Worker:
    """One worker process."""

    process: Process
    errors: Path
    counters: Counters

    def descriptors(self, ignore: str) -> int:
        """Open descriptors, without those of files below the folder `ignore`."""
        folder = f"/proc/{self.process.pid}/fd"
        count = 0
        for name in os.listdir(folder):
            with suppress(OSError):
                count += not os.readlink(f"{folder}/{name}").startswith(ignore)
        return count


@dataclass
class Plane(Publications):
    """Workers on one port. options: settings of the gateway, by name."""

    folder: Path
    redis_url: str
    options: Mapping[str, Any] = field(default_factory=dict)
    workers: list[Worker] = field(default_factory=list)
    expected: list[str] = field(default_factory=list)
    """Events at level error that a test provokes; any other fails it."""
    backend: Backend | None = None
    """Where the files are; unless given, a folder."""

    def __post_init__(self) -> None:
        self.root = self.folder / "files"
        self.root.mkdir()
        self.files = self.backend or Folder(self.root)
        self.log = self.folder / "access.log"
        self.store = redis.Redis.from_url(self.options.get("own_url", self.redis_url))
        self._listener: Listener | None = None
        self.client_context: ssl.SSLContext | None = None

    def start(self) -> None:
        options = {name: value for name, value in self.options.items() if name not in NO_SETTINGS}
        values: dict[str, Any] = {
            "redis_url": self.redis_url,
            "redis_timeout": PATIENCE_SECONDS,
            "workers": 1,
            "data": self.folder / "data",
            "access_log": str(self.log),
            **self.files.settings(self.folder),
        }
        self.settings = Settings(**(values | options))
        listener = Listener(self.options.get("listen", "127.0.0.1:0"), "listen")
        listener.grow(self.settings.workers)
        self.address = ("127.0.0.1", listener.address.port)
        self.path = listener.address.path
        self._attempts = new_memory()
        started = [self._spawn(slot, listener) for slot in range(self.settings.workers)]
        for worker, ready in started:
            self.workers.append(worker)
            with open(ready, "rb") as pipe:
                signal_byte = pipe.read(1)
            assert signal_byte == b"+", worker.errors.read_text()
        if self.path or self.options.get("restarts"):
            self._listener = listener  # closing it removes a unix socket
        else:
            listener.close()

    def _spawn(self, slot: int, listener: Listener) -> tuple[Worker, int]:
        sockets = [each.fileno() for each in listener.share(slot, self.settings.workers)]
        memory = new_block()
        ready, announce = os.pipe()
        errors = self.folder / f"worker-{slot}.err"
        with errors.open("ab") as log:
            process = self._start(slot, sockets, memory, announce, log.fileno())
        os.close(announce)
        counters = Counters(memory)
        os.close(memory)
        return Worker(process, errors, counters), ready

    def _start(self, slot: int, sockets: list[int], memory: int, announce: int, log: int) -> Process:
        """Start the process: quickly, but where coverage is measured, which a new interpreter starts."""
        settings = self.settings.model_dump(mode="json")
        patience = self.options.get("patience", PATIENCE_SECONDS)
        times = self.options.get("lease_times") or ()
        arguments = ["worker", *map(str, (slot, patience, *times))]
        limit = self.options.get("descriptors")
        if limit is None and "COVERAGE_PROCESS_CONFIG" not in os.environ:
            return worker_server().start(arguments, settings, sockets, memory, announce, log, self._attempts)
        program = str(Path(__file__).with_name("worker_program.py"))
        prefix = () if limit is None else ("prlimit", f"--nofile={limit // 2}:{limit}")
        process = subprocess.Popen(
            [*prefix, sys.executable, "-P", program, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=log,
            pass_fds=(*sockets, memory, announce, self._attempts),
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        assert process.stdin is not None
        given = ChildInput(settings, sockets, memory, announce, os.getpid(), self._attempts)
        process.stdin.write(given.encode())
        process.stdin.close()
        return process

    def stop(self) -> None:
        """End the workers as a supervisor would, and check what they logged."""
        for worker in self.workers:
            if worker.process.poll() is None:
                worker.process.send_signal(signal.SIGTERM)
        for worker in self.workers:
            try:
                code = worker.process.wait(60)
            except subprocess.TimeoutExpired:
                worker.process.kill()
                worker.process.wait()
                raise
            assert code == 0
        for worker in self.workers:
            assert self.complaints(worker) == []
            assert worker.counters.values()[FAULTS] == 0
            worker.counters.close()
        self.workers.clear()
        if self._attempts >= 0:  # it may have been stopped before
            os.close(self._attempts)
            self._attempts = -1
        if self._listener is not None:
            self._listener.close()
        self.store.close()

    def lose(self, worker: Worker) -> None:
        """Kill one worker, for good."""
        worker.process.kill()
        worker.process.wait()
        worker.counters.close()
        self.workers.remove(worker)

    def restart(self, slot: int) -> None:
        """Kill a worker, and start another one on its socket, as a supervisor does."""
        assert self._listener is not None
        worker = self.workers[slot]
        worker.process.kill()
        worker.process.wait()
        worker.counters.close()
        self.workers[slot], ready = self._spawn(slot, self._listener)
        with open(ready, "rb") as pipe:
            assert pipe.read(1) == b"+", worker.errors.read_text()

    def kill(self) -> None:
        """Kill every worker that still runs."""
        for worker in self.workers:
            worker.process.kill()
            worker.process.wait()

    def complaints(self, worker: Worker) -> list[str]:
        """Lines of standard error that no test expects: lines that are no log events, and errors."""
        lines = []
        for line in worker.errors.read_text().splitlines():
            try:
                event = json.loads(line)
            except ValueError:
                lines.append(line)
                continue
            level, text = event.get("level"), event.get("event", "")
            if "exception" in event or (
                level == "error" and not any(expected in text for expected in self.expected)
            ):
                lines.append(line)
        return lines

    # Clients.

    def connect(self, receive_buffer: int = 0) -> Client:
        return Client(self.path or self.address, receive_buffer, self.client_context)

    def get(self, target: str, *fields: str, method: str = "GET") -> Response:
        """One request on a connection of its own."""
        with self.connect() as client:
            return client.get(target, *fields, method=method)

    def exchange(self, data: bytes) -> bytes:
        """Send bytes, and read until the connection ends."""
        with self.connect() as client:
            client.send(data)
            return client.read_until_closed()

    def entries(self) -> list[dict[str, Any]]:
        """The access log so far, without a line that is being written."""
        return [json.loads(line) for line in whole_lines(self.log)]

    def descriptors(self) -> int:
        return sum(worker.descriptors(str(self.root)) for worker in self.workers)

    @contextmanager
    def no_leak(self) -> Iterator[None]:
        """Assert that, soon after the block, no more descriptors are open than before."""
        before = self.descriptors()
        yield
        wait_until(
            lambda: self.descriptors() <= before, f"{self.descriptors()} descriptors were {before} again"
        )


@contextmanager
def run_plane(folder: Path, backend: Backend | None = None, /, **options: Any) -> Iterator[Plane]:
    """Workers with a store of their own. options: their settings, by name."""
    with run_store() as server:
        running = Plane(folder, server.url, options, backend=backend)
        try:
            running.start()
            yield running
            running.stop()
        finally:
            running.kill()
