"""A worker of `up` hangs in the middle of a limited download: it is replaced, and the rest can be fetched."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.support.up import FIXED, Up
from tests.support.waiting import wait_until

SIZE = 60_000_000
READ = 6_000_000
LEASED_SECONDS = 3.0
"""A transfer gets its lease when it has lasted for a second."""
PATIENCE = 120.0
"""Until the hung worker is replaced, and what it had reserved is free again, which takes half a minute."""


def workers(up: Up) -> dict[str, int]:
    """The process ids of the workers that run."""
    found = up.health()["children"]
    return {
        child["name"]: child["pid"]
        for child in found
        if child["name"].startswith("worker") and child["state"] == "running"
    }


def limited_link(up: Up, product: str) -> str:
    command = [sys.executable, "-m", "gateway", "token", "create", product, "--max-downloads", "1", "--json"]
    done = subprocess.run(
        command,
        cwd=up.folder,
        env=os.environ | FIXED | up.variables,
        capture_output=True,
        text=True,
        check=True,
    )
    token: str = json.loads(done.stdout)["downloadToken"]
    return f"/download?token={token}"


@pytest.mark.slow
def test_what_a_hung_worker_had_reserved_comes_back(tmp_path: Path) -> None:
    content = os.urandom(SIZE)
    (tmp_path / "kit.bin").write_bytes(content)
    up = Up(tmp_path)
    up.variables = {"GATEWAY_HANG_TIMEOUT": "3"}
    [printed, *_] = up.start("kit.bin")
    try:
        address = urlsplit(printed).netloc
        link = limited_link(up, "kit.bin")
        before = workers(up)
        stalled = http.client.HTTPConnection(address, timeout=PATIENCE)
        stalled.request("GET", link)
        first = stalled.getresponse().read(READ)
        time.sleep(LEASED_SECONDS)
        for pid in before.values():  # whichever of them serves it
            os.kill(pid, signal.SIGSTOP)

        def are_replaced() -> bool:
            now = workers(up)
            return len(now) == len(before) and not set(now.values()) & set(before.values())

        wait_until(are_replaced, "both workers are replaced", PATIENCE)

        def rest() -> bytes | None:
            client = http.client.HTTPConnection(address, timeout=PATIENCE)
            try:
                client.request("GET", link, headers={"Range": f"bytes={READ}-"})
                answer = client.getresponse()
                body = answer.read()
                return body if answer.status == 206 else None
            finally:
                client.close()

        got = wait_until(rest, "the reservation has come back", PATIENCE)
        assert got is not None
        assert first + got == content
        stalled.close()
    finally:
        assert up.stop() == 0
