"""Stands in for the web process: takes what a worker passes on, and answers byte by byte what a test says."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Self

Script = Callable[["Taken"], None]
SECONDS = 60
"""No byte in this time is a hang."""


class Taken:
    """One connection that a worker has made. head, body: what has been read of its request."""

    def __init__(self, link: socket.socket) -> None:
        self.socket = link
        self.head = self.body = b""

    def read_head(self) -> bytes:
        while b"\r\n\r\n" not in self.head:
            self.head += self.receive()
        self.head, _, self.body = self.head.partition(b"\r\n\r\n")
        return self.head

    def read(self) -> bytes:
        """Read the whole request; return its body, with its framing."""
        self.read_head()
        length = re.search(rb"\r\ncontent-length: (\d+)", self.head, re.IGNORECASE)
        chunked = b"Transfer-Encoding: chunked" in self.head
        while (length and len(self.body) < int(length[1])) or (
            chunked and not self.body.endswith(b"\r\n0\r\n\r\n")
        ):
            self.body += self.receive()
        return self.body

    def receive(self) -> bytes:
        """Read some bytes. Raises ConnectionError where the worker has ended the connection."""
        data = self.socket.recv(65536)
        if not data:
            raise ConnectionAbortedError
        return data

    def read_end(self) -> bool:
        """Read until the worker has ended the connection. Always True, or it takes too long."""
        try:
            while self.socket.recv(65536):
                pass
        except ConnectionError:
            pass
        return True

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)


class WebStandIn:
    """Listens on a unix socket. script: is run for each connection, in a thread, and then it closes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.script: Script = answering(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        self.taken: list[Taken] = []
        self.faults: list[BaseException] = []
        path.parent.mkdir(parents=True, exist_ok=True)
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(str(path))
        self._socket.listen(512)
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
        assert self.faults == []

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self.path.unlink(missing_ok=True)

    @property
    def heads(self) -> list[bytes]:
        return [each.head for each in self.taken]

    def _accept(self) -> None:
        while True:
            try:
                link, _ = self._socket.accept()
            except OSError:
                return
            link.settimeout(SECONDS)
            taken = Taken(link)
            self.taken.append(taken)
            threading.Thread(target=self._run, args=(taken, self.script), daemon=True).start()

    def _run(self, taken: Taken, script: Script) -> None:
        try:
            with taken.socket:
                script(taken)
        except ConnectionError:
            pass
        except BaseException as fault:
            self.faults.append(fault)


def answering(answer: bytes) -> Script:
    """Read the request, and answer."""

    def run(taken: Taken) -> None:
        taken.read()
        taken.send(answer)

    return run
