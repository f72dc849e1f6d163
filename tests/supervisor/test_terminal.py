"""What a person sees in the terminal: `up` prints for people, and its log is silent while all is well."""

from __future__ import annotations

import json
import logging
import os
import re
import resource
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from gateway.config.settings import load
from gateway.runtime.descriptors import needed_limit
from gateway.supervisor.commands import log_descriptors
from tests.support.up import FIXED

ANY_PORTS = {
    f"GATEWAY_{name}": "127.0.0.1:0" for name in ("LISTEN", "MINT_LISTEN", "DASHBOARD_LISTEN", "ADMIN_LISTEN")
}
FEW = 500
"""Open files, too few for the default settings."""


def run(folder: Path, *words: str) -> subprocess.Popen[str]:
    """A command as a new user runs it, where the limit of open files is low."""
    return subprocess.Popen(
        ["sh", "-c", f'ulimit -n {FEW}; exec "$0" -m gateway "$@"', sys.executable, *words],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | FIXED | ANY_PORTS,
    )


@pytest.mark.slow
def test_up_writes_no_log_while_all_is_well(tmp_path: Path) -> None:
    (tmp_path / "kit.zip").write_bytes(b"kit")
    up = run(tmp_path, "up", "kit.zip")
    assert up.stdout
    printed = ""
    while "Ctrl-C" not in printed:
        line = up.stdout.readline()
        assert line, up.communicate()[1]
        printed += line
    trail = run(tmp_path, "audit", "--json").communicate()[0]
    up.send_signal(signal.SIGINT)
    _, log = up.communicate(timeout=60)
    assert (up.returncode, log) == (0, "")
    assert re.search(r"/download/ct_[\w-]{43}/kit\.zip", printed)
    for action in ("version.register", "token.create"):  # they are in the audit trail all the same
        assert f'"{action}"' in trail, json.loads(trail)


ENOUGH = needed_limit(10_000, 1024, 3)


@pytest.mark.parametrize(
    ("given", "limit", "expected"),
    [
        ({}, ENOUGH, []),
        ({}, 20_000, [logging.INFO]),
        ({}, resource.RLIM_INFINITY, []),
        ({"workers": 2}, 20_000, [logging.INFO]),
        ({"max_connections": 10_000}, 20_000, [logging.WARNING]),
        ({"max_connections": 1000}, 20_000, []),
        ({"open_files": 30_000}, ENOUGH, [logging.WARNING]),
    ],
)
def test_too_few_open_files_are_a_warning_where_more_were_asked_for(
    given: dict[str, Any],
    limit: int,
    expected: list[int],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    caplog.set_level(logging.INFO)
    log_descriptors(load(given, None, {}), limit)
    assert [record.levelno for record in caplog.records] == expected
    assert all(str(limit) in record.getMessage() for record in caplog.records)
