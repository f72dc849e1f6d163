"""Starts workers quickly: a process that has imported the data plane already forks one for each request.

A worker is a process of its own that runs `gateway.supervisor.child`, as the supervisor's are; but it need
not import a second's worth of modules first. The server is `python -m tests.support.worker_server FD PARENT`.
A request on the socket FD is a JSON object with descriptors beside it: one for standard error, then those of
the worker's input. The answer is by `{"pid": …}`; when the worker has ended, `{"pid": …, "code": …}` comes.
"""

from __future__ import annotations

import atexit
import gc
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from functools import cache
from typing import Any, NoReturn

from gateway.runtime.parent_death import die_with_parent
from gateway.supervisor import child
from tests.support.processes import ROOT, end_quickly

MAX_MESSAGE = 1 << 20


class WorkerServer:
    """The tests' end."""

    def __init__(self) -> None:
        self._socket, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with other:
            self._process = subprocess.Popen(
                [
                    sys.executable,
                    "-P",
                    "-m",
                    "tests.support.worker_server",
                    str(other.fileno()),
                    str(os.getpid()),
                ],
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[other.fileno()],
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                start_new_session=True,  # Ctrl-C is for the tests
            )
        self._codes: dict[int, int] = {}
        atexit.register(self.stop)

    def start(
        self,
        arguments: list[str],
        settings: dict[str, Any],
        sockets: list[int],
        counters: int,
        ready: int,
        errors: int,
        attempts: int,
    ) -> ForkedProcess:
        """Start a worker with these descriptors. errors: its standard error."""
        request = json.dumps({"arguments": arguments, "settings": settings}).encode()
        socket.send_fds(self._socket, [request], [errors, counters, ready, attempts, *sockets])
        while "code" in (told := json.loads(self._socket.recv(MAX_MESSAGE))):
            self._codes[told["pid"]] = told["code"]  # another worker ended meanwhile
        self._codes.pop(told["pid"], None)  # of a former process that had this number
        return ForkedProcess(self, told["pid"])

    def code(self, pid: int, seconds: float | None) -> int | None:
        """The exit code of a worker, once it has one; None after waiting for so long in vain."""
        deadline = None if seconds is None else time.monotonic() + seconds
        while pid not in self._codes:
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            if not select.select([self._socket], [], [], left)[0]:
                return None
            told = json.loads(self._socket.recv(MAX_MESSAGE))
            self._codes[told["pid"]] = told["code"]
        return self._codes[pid]

    def stop(self) -> None:
        """End the server, and with it all workers that are left."""
        self._socket.close()
        self._process.wait()


class ForkedProcess:
    """A worker, with those methods of subprocess.Popen that tests use."""

    def __init__(self, server: WorkerServer, pid: int) -> None:
        self._server = server
        self.pid = pid

    def poll(self) -> int | None:
        return self._server.code(self.pid, 0)

    def wait(self, timeout: float | None = None) -> int:
        code = self._server.code(self.pid, timeout)
        if code is None:
            assert timeout is not None
            raise subprocess.TimeoutExpired("worker", timeout)
        return code

    def send_signal(self, signum: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, signum)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


@cache
def worker_server() -> WorkerServer:
    """The one of this test process, started when it is needed for the first time."""
    return WorkerServer()


def serve(link: socket.socket) -> None:
    """Fork workers, and report their ends, until the tests have gone."""
    import tests.support.worker_program  # noqa: F401, PLC0415 - what the children need not import again

    woken, waker = socket.socketpair()
    waker.setblocking(False)
    woken.setblocking(False)
    signal.set_wakeup_fd(waker.fileno())
    signal.signal(signal.SIGCHLD, lambda *_: None)
    gc.collect()
    gc.freeze()
    while True:
        readable = select.select([link, woken], [], [])[0]
        if woken in readable:
            woken.recv(4096)
        if link in readable:
            request, descriptors, _, _ = socket.recv_fds(link, MAX_MESSAGE, 64)
            if not request:
                return
            server = os.getpid()
            pid = os.fork()
            if not pid:
                for each in (link, woken, waker):
                    each.close()
                become(server, json.loads(request), *descriptors)
            for descriptor in descriptors:
                os.close(descriptor)
            link.send(json.dumps({"pid": pid}).encode())
        report_ends(link)


def report_ends(link: socket.socket) -> None:
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if not pid:
            return
        link.send(json.dumps({"pid": pid, "code": os.waitstatus_to_exitcode(status)}).encode())


def become(
    parent: int,
    request: dict[str, Any],
    errors: int,
    counters: int,
    ready: int,
    attempts: int,
    *sockets: int,
) -> NoReturn:
    """Be a worker from now on."""
    from tests.support import worker_program  # noqa: PLC0415

    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.dup2(errors, 2)
    os.close(errors)
    given = child.ChildInput(request["settings"], list(sockets), counters, ready, parent, attempts)
    with tempfile.TemporaryFile() as told:
        told.write(given.encode())
        told.seek(0)
        os.dup2(told.fileno(), 0)
    sys.argv = ["child", *request["arguments"]]
    end_quickly(worker_program.main())


if __name__ == "__main__":
    die_with_parent(signal.SIGKILL, int(sys.argv[2]))
    serve(socket.socket(fileno=int(sys.argv[1])))
