"""A primary, its replica, and a name that leads to one of them: what a managed store looks like from
outside."""

from __future__ import annotations

import contextlib
import shutil
import socket
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import redis

from tests.support.ports import reserve_port
from tests.support.store_server import StoreServer
from tests.support.waiting import wait_until


class StoreName:
    """Does what a DNS name does: new connections go to `target`, and old ones stay where they are."""

    def __init__(self, target: Path) -> None:
        self.target = target
        self.accepted = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._links: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self.url = f"redis://127.0.0.1:{self._listener.getsockname()[1]}/0"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()
        for thread in self._threads:
            thread.join(5)
        for link in self._links:
            link.close()

    def cut(self) -> None:
        """Break all connections."""
        for link in self._links:
            with suppress(OSError):
                link.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                here, _ = self._listener.accept()
                self.accepted += 1
                there = socket.socket(socket.AF_UNIX)
                try:
                    there.connect(str(self.target))
                except OSError:
                    here.close()
                    there.close()
                    continue
                self._links += [here, there]
                for ends in ((here, there), (there, here)):
                    thread = threading.Thread(target=self._pump, args=ends, daemon=True)
                    thread.start()
                    self._threads.append(thread)

    @staticmethod
    def _pump(source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
        for link in (source, sink):
            with suppress(OSError):
                link.shutdown(socket.SHUT_RDWR)


class Failover:
    """The two servers, `old` (the primary at first) and `new`, and the name."""

    def __init__(self, old: StoreServer, new: StoreServer, ports: tuple[int, int], name: StoreName) -> None:
        self.old = redis.Redis(unix_socket_path=str(old.socket), decode_responses=True, protocol=2)
        self.new = redis.Redis(unix_socket_path=str(new.socket), decode_responses=True, protocol=2)
        self.servers = (old, new)
        self.name = name
        self.url = name.url
        self._ports = ports

    def promote(self) -> None:
        """Make the replica the primary and the primary its replica; the name still leads to the old one."""
        self.old.set("written", "last")  # WAIT waits for the writes of its own client
        assert self.old.wait(1, 10_000) == 1
        self.new.replicaof("NO", "ONE")
        self.old.replicaof("127.0.0.1", str(self._ports[1]))

    def turn(self) -> None:
        """Let the name lead to the new primary."""
        self.name.target = self.servers[1].socket


@contextmanager
def run_failover(*options: str) -> Iterator[Failover]:
    """Start both servers, with these options of theirs, and wait until the replica has everything."""
    with ExitStack() as stack:
        ports = (stack.enter_context(reserve_port()), stack.enter_context(reserve_port()))
        servers = []
        for port in ports:
            folder = Path(tempfile.mkdtemp(prefix="dg-store-"))
            stack.callback(shutil.rmtree, folder)
            server = StoreServer(folder, ("--port", str(port), "--bind", "127.0.0.1", *options))
            server.start()
            stack.callback(server.stop)
            servers.append(server)
        name = StoreName(servers[0].socket)
        stack.callback(name.close)
        made = Failover(servers[0], servers[1], ports, name)
        stack.callback(made.old.close)
        stack.callback(made.new.close)
        made.new.replicaof("127.0.0.1", str(ports[0]))
        made.old.set("written", "first")
        wait_until(lambda: made.old.wait(1, 50) == 1, "the replica follows")
        yield made
