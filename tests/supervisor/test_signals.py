"""Signals, sent to real processes of every kind: none of them ends a process that nobody meant to end."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.request import Request, urlopen

import pytest

from gateway.runtime.signals import OF_TERMINALS, REOPEN, STRAY
from gateway.supervisor.services import SERVICES, Service
from tests.support.processes import ROOT
from tests.support.up import Up
from tests.support.waiting import wait_until

FAULTS = {"SIGQUIT", "SIGILL", "SIGTRAP", "SIGABRT", "SIGBUS", "SIGFPE", "SIGSEGV", "SIGSYS", "SIGXCPU"}
"""By default these dump a core. A person may mean SIGQUIT, and a limit SIGXCPU; the others are faults."""

HARMLESS = {"SIGCHLD", "SIGCONT", "SIGURG", "SIGWINCH"}
"""By default these do nothing."""

FOR_NOBODY = {"SIGKILL", "SIGSTOP", "SIGTSTP"}
"""These cannot be caught, or a person at a terminal wants to stop everything for a while."""

ROLES = ("supervisor", *(service.name for service in SERVICES), "store")
REACTIONS = {
    "supervisor": {"SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT", "SIGXCPU", "SIGUSR1"},
    "worker": {"SIGTERM", "SIGUSR1"},
    "mint": {"SIGTERM"},
    "web": {"SIGTERM"},
    "store": {"SIGTERM", "SIGINT"},
}
"""The signals that each process handles; it ignores the others that would end it."""


class Shared(Up):
    """One `up` for several tests."""

    link = ""


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shared]:
    """One `up` for all tests, with its access log in a folder of its own. SIGQUIT ends it in good order."""
    made = Shared(tmp_path_factory.mktemp("up"))
    made.variables["GATEWAY_ACCESS_LOG"] = str(made.folder / "logs" / "access.log")
    (made.folder / "logs").mkdir()
    (made.folder / "kit.zip").write_bytes(b"kit")
    [made.link] = made.start("kit.zip")
    yield made
    try:
        assert made.stop(signal.SIGQUIT) == 0
        assert "stopping: downloads may finish" in made.errors()
    finally:
        assert made.process
        made.process.kill()


def pids(up: Up) -> dict[str, list[int]]:
    """The processes of each role."""
    assert up.process
    health = up.health()
    found: dict[str, list[int]] = {"supervisor": [up.process.pid], "store": [health["store"]["pid"]]}
    for child in health["children"]:
        found.setdefault(child["name"].split()[0], []).append(child["pid"])
    return found


def masks(pid: int) -> dict[str, set[int]]:
    """The signals that a process ignores, handles and blocks, as the kernel knows it."""
    text = Path(f"/proc/{pid}/status").read_text()
    return {
        name: {number for number in range(1, 65) if int(bits, 16) >> (number - 1) & 1}
        for name, bits in re.findall(r"^(Sig(?:Ign|Cgt|Blk)):\s+(\w+)$", text, re.MULTILINE)
    }


def download(up: Shared, agent: str = "somebody") -> bytes:
    with urlopen(Request(up.link, headers={"User-Agent": agent}), timeout=30) as response:
        content: bytes = response.read()
    return content


def lines(path: Path, agent: str) -> int:
    """How many requests of an agent a log has."""
    return path.read_text().count(f'"agent": "{agent}"') if path.exists() else 0


def has_open(pid: int, path: Path) -> bool:
    """Whether a process has a file open."""
    for each in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            if each.readlink() == path:
                return True
    return False


@pytest.mark.parametrize("role", ROLES)
def test_each_signal_that_could_end_a_process_is_handled_or_ignored(role: str, up: Shared) -> None:
    checked = 0
    for pid in pids(up)[role]:
        found = masks(pid)
        for signum in signal.valid_signals():
            name = signal.Signals(signum).name if signum < signal.SIGRTMIN else f"SIGRT{signum}"
            assert signum not in found["SigBlk"], name
            if name in REACTIONS[role]:
                assert signum in found["SigCgt"], name
            elif name not in FAULTS | HARMLESS | FOR_NOBODY:
                assert signum in found["SigIgn"] | (found["SigCgt"] if role == "store" else set()), name
                checked += 1
    assert checked > 30


def test_stray_signals_end_nothing(up: Shared) -> None:
    before = pids(up)
    children = {pid for role in before if role not in ("supervisor", "store") for pid in before[role]}
    for pid in [pid for each in before.values() for pid in each]:
        for signum in (*STRAY, REOPEN):
            os.kill(pid, signum)
    for pid in children:
        for signum in OF_TERMINALS:
            os.kill(pid, signum)
    assert download(up) == b"kit"
    assert pids(up) == before
    assert up.health()["status"] == "ok"


def test_sigusr1_opens_the_access_log_again(up: Shared) -> None:
    path = up.folder / "logs" / "access.log"
    download(up, "before")
    wait_until(lambda: lines(path, "before") == 1, "the log is written")
    moved = path.with_suffix(".1")
    path.rename(moved)
    assert up.process
    up.process.send_signal(REOPEN)
    wait_until(lambda: "log files are opened again" in up.errors(), "it is logged")
    workers = pids(up)["worker"]
    wait_until(lambda: not any(has_open(pid, moved) for pid in workers), "both have left the old file")
    wait_until(lambda: all(has_open(pid, path) for pid in workers), "both have the new one")
    download(up, "after")
    wait_until(lambda: lines(path, "after") == 1, "the line is in the new file")


def test_a_log_folder_that_vanishes_stops_no_download_and_is_told_once(up: Shared) -> None:
    folder = up.folder / "logs"
    shutil.rmtree(folder)

    def told() -> int:
        assert download(up) == b"kit"
        return up.errors().count("access.log cannot be written (it or its folder does not exist)")

    wait_until(lambda: told() >= 1, "it is told")
    for _ in range(20):
        told()
    assert told() <= 2, "once by each worker"
    folder.mkdir()
    wait_until(lambda: download(up) and (folder / "access.log").exists(), "the log is written again")


@pytest.mark.slow
@pytest.mark.parametrize("service", SERVICES, ids=lambda service: service.name)
def test_signals_that_come_while_it_starts_end_nothing(service: Service, tmp_path: Path) -> None:
    """From the moment on at which our program runs, also in children that have just been started."""
    errors = tmp_path / "errors"
    with errors.open("w") as writer:
        process = subprocess.Popen(
            [sys.executable, "-m", "gateway", service.command, "--workers", "1"],
            cwd=tmp_path,
            stderr=writer,
            stdout=subprocess.DEVNULL,
            env=os.environ
            | {"PYTHONPATH": str(ROOT)}
            | {f"GATEWAY_{name}_LISTEN": "127.0.0.1:0" for name in ("MINT", "DASHBOARD", "ADMIN")}
            | {"GATEWAY_LISTEN": "127.0.0.1:0"},
        )
    try:
        wait_until(lambda: REOPEN in masks(process.pid)["SigIgn"], "the program runs", 60)
        deadline = time.monotonic() + 60
        while service.log_text not in errors.read_text():
            assert process.poll() is None, errors.read_text()
            assert time.monotonic() < deadline, errors.read_text()
            for signum in (REOPEN, signal.SIGALRM, signal.SIGUSR2):
                process.send_signal(signum)
            time.sleep(0.01)
        assert '"event": "ended' not in errors.read_text()
    finally:
        process.terminate()
        assert process.wait(60) == 0
