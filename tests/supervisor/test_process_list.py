"""What other users of the machine see of the gateway: its command lines."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bench.testbed.usage import descendants
from tests.support.waiting import wait_until

ROOT = Path(__file__).parents[2]
SECRET = "a-buckets-secret-key-5f1c"


def command_lines(pid: int) -> list[bytes]:
    """The command lines of a process and its descendants."""
    lines = []
    for each in descendants(pid):
        try:
            lines.append(Path(f"/proc/{each}/cmdline").read_bytes())
        except OSError:  # it has just ended
            continue
    return lines


@pytest.mark.slow
def test_no_process_has_a_secret_in_its_command_line(tmp_path: Path) -> None:
    """Settings come to child processes on standard input. The embedded store is one of the processes."""
    settings = {
        "GATEWAY_LISTEN": "127.0.0.1:0",
        "GATEWAY_ADMIN_LISTEN": f"unix:{tmp_path / 'admin.sock'}",
        "GATEWAY_DATA": str(tmp_path / "data"),
        "GATEWAY_WORKERS": "1",
        "GATEWAY_STORAGE__SHOP__TYPE": "s3",
        "GATEWAY_STORAGE__SHOP__BUCKET": "shop",
        "GATEWAY_STORAGE__SHOP__ACCESS_KEY": "shop",
        "GATEWAY_STORAGE__SHOP__SECRET_KEY": SECRET,
    }
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("GATEWAY_")}
    process = subprocess.Popen(
        [sys.executable, "-m", "gateway", "serve"],
        cwd=ROOT,
        env=inherited | settings,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_until(
            lambda: any(b"worker" in line for line in command_lines(process.pid)), "a worker is there", 20
        )
        assert not any(SECRET.encode() in line for line in command_lines(process.pid))
    finally:
        process.terminate()
        assert process.wait(60) == 0
