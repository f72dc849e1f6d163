"""Commands as processes of their own, with nothing in their environment but what a test gives them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from gateway.config.settings import LISTENERS
from gateway.config.sources import flag_name
from tests.support.command_server import CommandServer
from tests.support.processes import ROOT
from tests.support.store_server import STORE_SECONDS

PROGRAM = (sys.executable, "-m", "gateway")
PATIENCE_SECONDS = 60


@cache
def command_server() -> CommandServer:
    """The command server of this test process, started when it is needed for the first time."""
    return CommandServer()


@dataclass
class Gateway:
    """Runs commands in a folder, against a store."""

    folder: Path
    variables: dict[str, str] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        measured = {name: value for name, value in os.environ.items() if name.startswith("COVERAGE_")}
        fixed = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT),
            "COLUMNS": "100",
            "GATEWAY_REDIS_TIMEOUT": str(STORE_SECONDS),
        }
        return {**fixed, **measured, **self.variables}

    def run(self, *arguments: str | Path, code: int | None = 0) -> subprocess.CompletedProcess[str]:
        """Run a command to its end, and assert that its exit code is `code`, or 0 or 1 for None."""
        words = [str(each) for each in arguments]
        if any(
            name.startswith("PYTHON") for name in self.variables
        ):  # the interpreter reads them at its start
            done = subprocess.run(
                [*PROGRAM, *words],
                cwd=self.folder,
                env=self.environment,
                check=False,
                capture_output=True,
                text=True,
                timeout=PATIENCE_SECONDS,
            )
        else:
            done = command_server().run(words, self.folder, self.environment, PATIENCE_SECONDS)
        codes = (0, 1) if code is None else (code,)
        assert done.returncode in codes, (done.returncode, done.stdout, done.stderr)
        return done

    def start(self, *arguments: str | Path, **options: Any) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [*PROGRAM, *map(str, arguments)], cwd=self.folder, env=self.environment, **options
        )

    def json(self, *arguments: str | Path, code: int | None = 0) -> Any:
        return json.loads(self.run(*arguments, "--json", code=code).stdout)

    def fault(self, *arguments: str | Path, code: int = 1) -> str:
        """The fault that the command reports: one line on standard error, and nothing on standard output."""
        done = self.run(*arguments, code=code)
        assert done.stdout == ""
        assert done.stderr.count("\n") == 1, done.stderr
        assert "Traceback" not in done.stderr
        return done.stderr.removeprefix("download-gateway: ").removesuffix("\n")


@dataclass
class Fault:
    """What a command in this process left behind."""

    code: int
    lines: list[str]


FREE = tuple(part for name in LISTENERS for part in (flag_name(name), "127.0.0.1:0"))
"""Flags that let everything listen on any free port."""


def report(gateway: Gateway, *arguments: str | Path, code: int | None = 0) -> dict[str, dict[str, Any]]:
    """What `check` finds, by what was checked."""
    few = ("--max-connections", "1000")  # for which a usual limit of open files is enough
    found = gateway.json("check", *FREE, *few, *arguments, code=code)
    return {each["check"]: each for each in found}
