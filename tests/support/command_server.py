"""Runs commands of the gateway quickly: a process that has imported them already forks a child for each.

Each command is a process of its own, as `python -m gateway` is, with the folder, the environment and the
output files that it is given; but it need not import half a second's worth of modules first. The server is
`python -m tests.support.command_server FD`; a request on the socket FD is one JSON object, with the
descriptors for standard output and standard error beside it, and is answered by the exit code.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import os
import pkgutil
import signal
import socket
import subprocess
import sys
import tempfile
from contextlib import redirect_stderr
from pathlib import Path
from typing import NoReturn

import gateway
from gateway.runtime.parent_death import die_with_parent
from tests.support.processes import ROOT, end_quickly

MAX_REQUEST = 1 << 20


class CommandServer:
    """The side of the tests. It sends one request at a time."""

    def __init__(self) -> None:
        self._socket, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with other:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.support.command_server", str(other.fileno()), str(os.getpid())],
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                pass_fds=[other.fileno()],
            )
        atexit.register(self.stop)

    def run(
        self, arguments: list[str], folder: Path, environment: dict[str, str], seconds: float
    ) -> subprocess.CompletedProcess[str]:
        """Run a command to its end. Raises TimeoutError when it takes longer than this."""
        request = json.dumps([arguments, str(folder), environment]).encode()
        with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
            socket.send_fds(self._socket, [request], [out.fileno(), err.fileno()])
            self._socket.settimeout(seconds)
            code = int(self._socket.recv(64))
            out.seek(0)
            err.seek(0)
            return subprocess.CompletedProcess(arguments, code, out.read(), err.read())

    def stop(self) -> None:
        """End the server."""
        self._socket.close()
        self._process.wait()


def serve(link: socket.socket) -> None:
    """Answer requests until the tests close the connection."""
    import aiosqlite  # noqa: F401, PLC0415 - commands import these when they need them
    import alembic.command  # noqa: F401, PLC0415
    import botocore.client  # noqa: PLC0415
    import botocore.session  # noqa: F401, PLC0415

    for module in pkgutil.walk_packages(gateway.__path__, "gateway."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    from gateway.cli import main  # noqa: PLC0415

    # A first command makes what all others use, such as pydantic's models. It fails: there is no such store.
    with open(os.devnull, "w") as nowhere, redirect_stderr(nowhere):
        main(["token", "list", "--redis-url", "unix:///nowhere"])
    gc.collect()
    gc.freeze()  # the children need not look at what is here already
    while True:
        request, descriptors, _, _ = socket.recv_fds(link, MAX_REQUEST, 2)
        if not request:
            return
        child = os.fork()
        if not child:
            link.close()
            become(*json.loads(request), *descriptors)
        for descriptor in descriptors:
            os.close(descriptor)
        _, status = os.waitpid(child, 0)
        link.send(str(os.waitstatus_to_exitcode(status)).encode())


def become(arguments: list[str], folder: str, environment: dict[str, str], out: int, err: int) -> NoReturn:
    """Run a command as this process, which ends with it."""
    from gateway.cli import main  # noqa: PLC0415

    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    for descriptor, standard in ((out, 1), (err, 2)):
        os.dup2(descriptor, standard)
        os.close(descriptor)
    sys.argv = ["download-gateway", *arguments]
    end_quickly(main())


if __name__ == "__main__":
    die_with_parent(signal.SIGKILL, int(sys.argv[2]))
    serve(socket.socket(fileno=int(sys.argv[1])))
