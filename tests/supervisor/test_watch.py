"""Children that hang are reported, replaced and ended; with real processes that are stopped or blocked."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

from gateway.supervisor.watch import read_state
from tests.support.processes import is_running
from tests.support.supervised import Gateway, wait_until
from tests.support.up import Up

LIMIT_SECONDS = 4
"""Short, but longer than a busy machine keeps a process from running that nobody has stopped."""


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Gateway]:
    made = Gateway(tmp_path, "up")
    (tmp_path / "kit.zip").write_bytes(b"kit")
    yield made
    made.end()


def start(gateway: Gateway) -> Gateway:
    """Start everything with a short limit."""
    gateway.configure(hang_timeout=LIMIT_SECONDS)
    return gateway.start(gateway.data.parent / "kit.zip")


def pids(gateway: Gateway) -> dict[str, int]:
    return {child["name"].split()[0]: child["pid"] for child in gateway.health()["children"]}


def stop_process(gateway: Gateway, role: str) -> None:
    os.kill(pids(gateway)[role], signal.SIGSTOP)


def block_loop(gateway: Gateway, role: str) -> None:
    setting = {"worker": "listen", "mint": "mint_listen", "web": "dashboard_listen"}[role]
    port = gateway.port(setting)
    link = socket.create_connection(("127.0.0.1", port))
    link.sendall(b"GET /block HTTP/1.0\r\n\r\n")
    link.close()


@pytest.mark.slow
def test_a_child_of_any_service_that_hangs_is_reported_and_replaced(gateway: Gateway) -> None:
    """Whether it was stopped or its event loop is blocked."""
    gateway.environment["STAND_IN_GRACE"] = "4"  # so that all of them are seen to hang at once
    start(gateway)
    former = pids(gateway)
    hangs = {"worker": stop_process, "mint": stop_process, "web": block_loop}
    for role, hang in hangs.items():
        hang(gateway, role)

    def shown() -> tuple[dict[str, Any], int] | None:
        health, count = gateway.health(), gateway.metric('gateway_children_hung{role="mint"}')
        return (health, count) if len(health["hung"]) == len(hangs) else None

    health, count = wait_until(shown, "it is noticed") or ({}, 0)
    assert (health["status"], health["hung"]) == ("degraded", ["mint 0", "web 0", "worker 0"])
    assert count == 1
    wait_until(lambda: gateway.health()["status"] == "ok", "all is well")
    assert not any(map(is_running, former.values()))
    assert gateway.about()["pid"] == pids(gateway)["worker"]
    for role, hang in hangs.items():
        assert gateway.metric(f'gateway_hangs_total{{role="{role}"}}') == 1
        [line] = [each for each in gateway.log() if each["event"] == "hangs" and each["pid"] == former[role]]
        assert (line["child"], line["level"]) == (f"{role} 0", "error")
        assert line["silent"] >= LIMIT_SECONDS
        assert line["state"].startswith("T (stopped)" if hang is stop_process else "S")
    assert gateway.events().count("killed, because it hangs") == len(hangs)


TRACED = """
import ctypes, os, signal
assert ctypes.CDLL(None).ptrace(0, 0, 0, 0) == 0  # PTRACE_TRACEME: the parent is a debugger from now on
os.kill(os.getpid(), signal.SIGSTOP)
"""


def test_a_process_that_a_debugger_holds_is_known_as_such() -> None:
    assert read_state(os.getpid())[1] is False
    held = os.posix_spawn(sys.executable, [sys.executable, "-c", TRACED], os.environ)
    wait_until(lambda: read_state(held)[0].startswith("t"), "the debugger holds it")
    assert read_state(held) == ("t (tracing stop)", True)
    os.kill(held, signal.SIGKILL)
    while not os.WIFSIGNALED(os.waitpid(held, 0)[1]):  # the first answer may be that it was held
        pass
    assert read_state(held) == ("", False), "it has ended"


@pytest.mark.slow
def test_one_that_comes_back_after_it_was_replaced_finishes_its_downloads(gateway: Gateway) -> None:
    gateway.environment["STAND_IN_GRACE"] = "5"
    start(gateway)
    former = pids(gateway)["worker"]
    with ThreadPoolExecutor(1) as pool:
        download = pool.submit(gateway.ask, "/slow")
        wait_until(lambda: gateway.metric("gateway_connections") == 1, "the download has begun")
        os.kill(former, signal.SIGSTOP)
        wait_until(lambda: pids(gateway)["worker"] not in (former, None), "another serves in its place")
        os.kill(former, signal.SIGCONT)
        wait_until(lambda: "draining" in gateway.events(), "it is no longer needed")
        gateway.release()
        assert download.result() == b"x" * 15
    wait_until(lambda: not is_running(former), "it has ended")
    assert "killed, because it hangs" not in gateway.events()
    assert "hung, and gives signs of life again" in gateway.events()


@pytest.mark.slow
def test_a_pause_of_everything_ends_nobody(gateway: Gateway) -> None:
    """As of a laptop that sleeps, or a container that is frozen."""
    start(gateway)
    assert gateway.process
    assert gateway.process.stdout
    while "Ctrl-C" not in gateway.process.stdout.readline():  # `up` must not wait for the store meanwhile
        assert gateway.process.poll() is None
    former = pids(gateway)
    everything = [gateway.process.pid, *former.values()]
    for pid in everything:
        os.kill(pid, signal.SIGSTOP)
    time.sleep(1.5 * LIMIT_SECONDS)
    os.kill(everything[0], signal.SIGCONT)
    time.sleep(0.2)  # the children go on a little later than the supervisor
    for pid in everything[1:]:
        os.kill(pid, signal.SIGCONT)
    assert gateway.about()["pid"] == former["worker"]
    time.sleep(LIMIT_SECONDS)
    assert pids(gateway) == former
    assert "hangs" not in gateway.events()


@pytest.mark.slow
def test_one_that_cannot_be_killed_is_replaced_once_and_nobody_waits_for_it(gateway: Gateway) -> None:
    gateway.environment["STAND_IN"] = "undying"
    start(gateway)
    first = pids(gateway)["worker"]
    unkillable = [first]
    try:
        os.kill(first, signal.SIGSTOP)
        cannot = "cannot be killed: it waits in the kernel, and ends when its disk answers"
        wait_until(lambda: cannot in gateway.events(), "it is reported")
        second = pids(gateway)["worker"]
        unkillable.append(second)
        assert second != first
        assert gateway.about()["pid"] == second
        assert gateway.health()["status"] == "degraded"
        os.kill(second, signal.SIGSTOP)
        kept = "not replaced: the process before it hangs as well, and could not be killed"
        wait_until(lambda: kept in gateway.events(), "no third one is started")
        wait_until(lambda: gateway.health()["hung"] == ["worker 0", "worker 0"], "both are shown")
        gateway.configure(hang_timeout=LIMIT_SECONDS, drain_timeout=0.2)
        gateway.send(signal.SIGINT)
        gateway.send(signal.SIGINT)
        assert gateway.wait() == 0, "the supervisor ends, and leaves them to the kernel"
    finally:
        for pid in unkillable:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Up]:
    """The real services."""
    made = Up(tmp_path)
    made.variables["GATEWAY_HANG_TIMEOUT"] = str(LIMIT_SECONDS)
    (tmp_path / "kit.zip").write_bytes(b"kit")
    yield made
    if made.process is not None and made.process.poll() is None:
        made.stop(signal.SIGKILL)


@pytest.mark.slow
def test_a_real_worker_that_is_stopped_is_replaced_and_new_requests_succeed(up: Up) -> None:
    [link] = up.start("kit.zip")
    workers = [each["pid"] for each in up.health()["children"] if each["name"].startswith("worker")]
    for pid in workers:
        os.kill(pid, signal.SIGSTOP)
    with urlopen(link, timeout=60) as response:  # it waits in the queue of the one that was stopped
        assert response.read() == b"kit"
    wait_until(lambda: up.health()["status"] == "ok", "all is well")
    assert not any(map(is_running, workers))
    assert up.stop(signal.SIGINT) == 0
