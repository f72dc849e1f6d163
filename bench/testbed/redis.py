"""A blocking Redis connection, to fill the server with tokens and to ask it questions."""

from __future__ import annotations

import socket
from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import Any, Final

import hiredis

from bench.errors import BenchError

BATCH: Final = 500
"""Commands that are sent before their replies are read."""

Command = tuple[Any, ...]
"""The command's name and arguments: text, bytes and numbers."""


class Redis:
    """A connection to a unix socket. Raises OSError if nobody listens there."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        try:
            self._socket.connect(str(path))
        except OSError:
            self._socket.close()
            raise
        self._reader = hiredis.Reader()

    def execute(self, *command: str | bytes | int) -> Any:
        """Return the reply to one command. Raises BenchError if it is an error."""
        return self.execute_all([command])[0]

    def execute_all(self, commands: Iterable[Command]) -> list[Any]:
        """Return the replies to many commands, which are sent in batches. Raises BenchError for an error."""
        remaining, replies = iter(commands), []
        while batch := list(islice(remaining, BATCH)):
            self._socket.sendall(b"".join(hiredis.pack_command(command) for command in batch))
            for _ in batch:
                while (reply := self._reader.gets()) is False:
                    self._reader.feed(self._receive())
                if isinstance(reply, hiredis.HiredisError):
                    raise BenchError(f"redis refused a command: {reply}")
                replies.append(reply)
        return replies

    def _receive(self) -> bytes:
        data = self._socket.recv(1 << 16)
        if not data:
            raise BenchError("redis closed the connection")
        return data

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()
