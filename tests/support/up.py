"""`download-gateway up` as a process of its own."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.support.listening import found_port
from tests.support.processes import ROOT
from tests.support.store_server import STORE_SECONDS

FIXED = {"PYTHONPATH": str(ROOT), "GATEWAY_REDIS_TIMEOUT": str(STORE_SECONDS)}
"""The environment of every `up`, and of commands beside it."""


class Up:
    """One `up` in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = self.admin_port = 0
        """Any free port at the first start; later starts listen there again, so that links stay good."""
        self.variables: dict[str, str] = {}
        self.process: subprocess.Popen[str] | None = None
        self.output: list[str] = []

    @property
    def flags(self) -> list[str]:
        return [
            *("--listen", f"127.0.0.1:{self.port}", "--admin-listen", f"127.0.0.1:{self.admin_port}"),
            *("--mint-listen", "127.0.0.1:0", "--dashboard-listen", "127.0.0.1:0"),
            *("--workers", "2", "--log-level", "info"),
        ]

    def command(self, *arguments: str) -> subprocess.Popen[str]:
        with (self.folder / "stderr").open("w") as errors:
            return subprocess.Popen(
                [sys.executable, "-m", "gateway", *arguments],
                cwd=self.folder,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env=os.environ | FIXED | self.variables,
            )

    def start(self, *paths: str) -> list[str]:
        """Start `up`; return the links that it prints."""
        self.process = self.command("up", *self.flags, *paths)
        assert self.process.stdout
        self.output = []
        while "Ctrl-C" not in (line := self.process.stdout.readline()):
            assert line, self.errors()
            self.output.append(line)
        self.port = found_port(self.errors(), "listen")
        self.admin_port = found_port(self.errors(), "admin_listen")
        return re.findall(r"^  (http://\S+/download\S+)$", "".join(self.output), re.MULTILINE)

    def stop(self, signum: signal.Signals = signal.SIGTERM) -> int:
        assert self.process
        self.process.send_signal(signum)
        self.process.communicate(timeout=60)
        return self.process.returncode

    def errors(self) -> str:
        return (self.folder / "stderr").read_text()

    def health(self) -> dict[str, Any]:
        link = http.client.HTTPConnection("127.0.0.1", self.admin_port, timeout=60)
        link.request("GET", "/healthz")
        found: dict[str, Any] = json.loads(link.getresponse().read())
        link.close()
        return found
