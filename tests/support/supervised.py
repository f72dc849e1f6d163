"""A supervisor whose services are the stand-ins of `stand_in.py`, as a process of its own."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

from tests.support.listening import found_port, whole_lines
from tests.support.processes import ROOT
from tests.support.store_server import STORE_SECONDS
from tests.support.waiting import wait_until as wait_briefly

STAND_IN = Path(__file__).with_name("stand_in.py")
PATIENCE_SECONDS = 60
"""How long a busy machine may take for a start or an end."""
NO_PORT = 1
"""Nobody listens there: where a gateway is asked before it has found a port."""


wait_until = partial(wait_briefly, seconds=PATIENCE_SECONDS)


class Gateway:
    """A supervisor process of the stand-in program, in a folder of its own, on any free ports."""

    def __init__(self, folder: Path, command: str = "serve") -> None:
        self.command = command
        self.data = folder / "data"
        self.config = folder / "gateway.toml"
        self.errors = folder / "stderr"
        self.listen = "127.0.0.1:0"
        self.environment: dict[str, str] = {}
        self.process: subprocess.Popen[str] | None = None
        self._begun = 0
        self.configure()

    def configure(self, workers: int = 1, **more: str | float) -> None:
        lines = {
            "workers": workers,
            "data": str(self.data),
            "listen": self.listen,
            "mint_listen": "127.0.0.1:0",
            "dashboard_listen": "127.0.0.1:0",
            "admin_listen": "127.0.0.1:0",
            "drain_timeout": 20,
            "redis_timeout": STORE_SECONDS,
            "log_level": "info",
        } | more
        self.config.write_text("".join(f"{name} = {json.dumps(value)}\n" for name, value in lines.items()))

    def spawn(self, *paths: Path, **options: Any) -> subprocess.Popen[str]:
        # ports of an earlier run may be those of other programs by now
        self._begun = len(self.errors.read_text()) if self.errors.exists() else 0
        with self.errors.open("a") as errors:
            self.process = subprocess.Popen(
                [sys.executable, str(STAND_IN), self.command, str(self.config), *map(str, paths)],
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env=os.environ | {"PYTHONPATH": str(ROOT)} | self.environment,
                **options,
            )
        return self.process

    def start(self, *paths: Path, **options: Any) -> Gateway:
        process = self.spawn(*paths, **options)
        deadline = time.monotonic() + PATIENCE_SECONDS
        while self.health().get("status") != "ok":
            assert process.poll() is None, self.errors.read_text()
            assert time.monotonic() < deadline, self.errors.read_text()
            time.sleep(0.02)
        return self

    def end(self) -> None:
        if self.process is not None:
            if self.process.poll() is None:
                self.process.send_signal(signal.SIGINT)
                self.process.send_signal(signal.SIGINT)
                try:
                    self.process.wait(60)
                except subprocess.TimeoutExpired:
                    self.process.kill()
            self.process.communicate()

    def send(self, signum: signal.Signals) -> None:
        assert self.process
        self.process.send_signal(signum)

    def wait(self) -> int:
        assert self.process
        return self.process.wait(PATIENCE_SECONDS)

    def release(self) -> None:
        """Let the downloads of `/slow` finish."""
        (self.data.parent / "release").touch()

    def port(self, setting: str = "listen") -> int:
        """Where it listens, or NO_PORT before it does."""
        return found_port(self.errors.read_text()[self._begun :], setting) or NO_PORT

    def ask(self, path: str = "/", setting: str = "listen") -> bytes:
        link = http.client.HTTPConnection("127.0.0.1", self.port(setting), timeout=PATIENCE_SECONDS)
        try:
            link.request("GET", path)
            return link.getresponse().read()
        finally:
            link.close()

    def about(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.ask())
        return found

    def health(self) -> dict[str, Any]:
        try:
            found: dict[str, Any] = json.loads(self.ask("/healthz", "admin_listen"))
        except OSError:
            return {}
        return found

    def metric(self, name: str) -> int:
        text = self.ask("/metrics", "admin_listen").decode()
        found = re.search(rf"^{re.escape(name)} (\d+)$", text, re.MULTILINE)
        assert found, name
        return int(found[1])

    def pids(self) -> list[int]:
        return [child["pid"] for child in self.health()["children"]]

    def log(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in whole_lines(self.errors.read_text()) if line.startswith("{")]

    def has_reloaded(self, times: int = 1) -> bool:
        return self.events().count("reloaded") == times

    def events(self) -> list[str]:
        return [line["event"] for line in self.log()]
