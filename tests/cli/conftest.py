"""The console script as a process of its own, with nothing in its environment but what a test gives it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from gateway.cli import main
from tests.conftest import StoreServer

ROOT = Path(__file__).parent.parent.parent
PROGRAM = (sys.executable, "-m", "gateway")
PATIENCE_SECONDS = 60


@dataclass
class Gateway:
    """Runs commands in a folder, against a store."""

    folder: Path
    variables: dict[str, str] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        return {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "COLUMNS": "100", **self.variables}

    def run(self, *arguments: str | Path, code: int = 0) -> subprocess.CompletedProcess[str]:
        """Run a command to its end and hold its exit code against `code`."""
        done = subprocess.run(
            [*PROGRAM, *map(str, arguments)],
            cwd=self.folder,
            env=self.environment,
            check=False,
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
        )
        assert done.returncode == code, (done.returncode, done.stdout, done.stderr)
        return done

    def start(self, *arguments: str | Path, **options: Any) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [*PROGRAM, *map(str, arguments)], cwd=self.folder, env=self.environment, **options
        )

    def json(self, *arguments: str | Path, code: int = 0) -> Any:
        return json.loads(self.run(*arguments, "--json", code=code).stdout)

    def fault(self, *arguments: str | Path, code: int = 1) -> str:
        """What the command complains about: one line on standard error, nothing on standard output."""
        done = self.run(*arguments, code=code)
        assert done.stdout == ""
        assert done.stderr.count("\n") == 1, done.stderr
        assert "Traceback" not in done.stderr
        return done.stderr.removeprefix("download-gateway: ").removesuffix("\n")


@pytest.fixture
def gateway(store: StoreServer, tmp_path: Path) -> Gateway:
    """Commands against the shared store, emptied."""
    return Gateway(tmp_path, {"GATEWAY_REDIS_URL": store.url})


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A folder with two files to sell."""
    folder = tmp_path / "files"
    (folder / "sub").mkdir(parents=True)
    (folder / "a.bin").write_bytes(bytes(range(256)) * 20)
    (folder / "sub" / 'ü "b".txt').write_text("hello")
    return folder


@dataclass
class Fault:
    """What a command in this process left behind."""

    code: int
    lines: list[str]


@pytest.fixture
def complain(
    store: StoreServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Fault]:
    """Run a command in this process, which is quicker: for tables of faults."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("GATEWAY_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("GATEWAY_REDIS_URL", store.url)

    def run(*arguments: str) -> Fault:
        code = main(arguments)
        said = capsys.readouterr()
        assert said.out == ""
        lines = said.err.splitlines()
        assert all(line.startswith("download-gateway: ") for line in lines)
        return Fault(code, [line.removeprefix("download-gateway: ") for line in lines])

    return run
