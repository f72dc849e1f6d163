"""A seller's machine and a customer who downloads with real programs."""

from __future__ import annotations

import json
import random
import signal
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

from tests.support.listening import whole_lines
from tests.support.programs import need
from tests.support.up import Up
from tests.support.waiting import wait_until

SIZE = 64 << 20
ABORTED_AFTER = 4 << 20
RATE = "12M"
"""How fast a download is that is ended after so much: it would take five seconds more, so that a busy machine
ends it in time, too."""


@cache
def content() -> bytes:
    """What is sold here: made when it is needed, since it takes a while."""
    return random.Random(7).randbytes(SIZE)


class Shop(Up):
    """A seller's machine with `up` running, and a customer's folder."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.customer = folder / "customer"
        self.customer.mkdir()

    def run(self, *command: str, status: int = 0) -> bytes:
        """Run a program as the customer, to its end."""
        done = subprocess.run(
            [need(command[0]), *command[1:]], cwd=self.customer, capture_output=True, timeout=60, check=False
        )
        assert done.returncode == status, done.stderr.decode()
        return done.stdout

    def abort(
        self, part: Path, *command: str, after: int = ABORTED_AFTER, by: signal.Signals = signal.SIGKILL
    ) -> int:
        """Start a download, and end it once `after` bytes have arrived. Returns the size of the part."""
        with subprocess.Popen(
            [need(command[0]), *command[1:]],
            cwd=self.customer,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ) as running:
            wait_until(lambda: part.exists() and self.received(part) > after, f"{part} has begun")
            running.send_signal(by)
        assert self.received(part) < SIZE
        return part.stat().st_size

    @staticmethod
    def received(part: Path) -> int:
        """Bytes of a file without its holes: download managers write at its end, too."""
        return part.stat().st_blocks * 512

    def ask(self, *arguments: str) -> Any:
        """Run a command of the gateway, and return its JSON."""
        process = self.command(*arguments, "--json")
        out, _ = process.communicate(timeout=120)
        assert process.returncode == 0, self.errors()
        return json.loads(out)

    def link(self, *arguments: str) -> str:
        """A new link, made by `token create`."""
        made = self.ask("token", "create", *arguments, "--listen", f"127.0.0.1:{self.port}")
        return str(made["downloadUrl"])

    def got(self, name: str) -> bool:
        return (self.customer / name).read_bytes() == content()

    def entries(self, token: str) -> list[dict[str, Any]]:
        """The access log's lines about a token, by its id."""
        log = self.folder / ".download-gateway" / "access.log"
        lines = map(json.loads, whole_lines(log.read_text()))
        return [line for line in lines if line.get("token") == token]
