"""Programs that are started are stopped, and what they use is measured."""

import os
import socket
import sys
import time
from pathlib import Path

import pytest

from bench.errors import BenchError
from bench.testbed.processes import ProcessGroup
from bench.testbed.usage import (
    UsageMeter,
    cpu_seconds,
    descendants,
    listening_pids,
    listening_ports,
    resident_bytes,
)
from tests.support.waiting import wait_until

SLEEP = (sys.executable, "-c", "import time; time.sleep(60)")
CPUS = sorted(os.sched_getaffinity(0))


def alive(pid: int) -> bool:
    return os.path.exists(f"/proc/{pid}")


def test_a_group_ends_with_its_block(tmp_path: Path) -> None:
    with ProcessGroup(tmp_path) as group:
        pids = [group.start("sleeper", SLEEP, cpus=CPUS[:1]).pid for _ in range(2)]
        assert os.sched_getaffinity(pids[0]) == set(CPUS[:1])
        assert set(pids) <= set(descendants(os.getpid()))
    assert not any(map(alive, pids))


def test_programs_share_our_session_but_not_our_ctrl_c(tmp_path: Path) -> None:
    with ProcessGroup(tmp_path) as group:
        pid = group.start("sleeper", SLEEP, cpus=CPUS).pid
        assert os.getsid(pid) == os.getsid(0)
        assert os.getpgid(pid) == pid != os.getpgid(0)


def test_a_group_ends_with_an_exception_too(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), ProcessGroup(tmp_path) as group:  # noqa: PT012
        pid = group.start("sleeper", SLEEP, cpus=CPUS).pid
        raise KeyboardInterrupt
    assert not alive(pid)


def test_a_program_that_ignores_sigterm_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.testbed.processes.STOP_SECONDS", 0.2)
    code = "import signal, sys, time; signal.signal(15, signal.SIG_IGN); print(1, flush=True); time.sleep(60)"
    with ProcessGroup(tmp_path) as group:
        program = group.start("stubborn", [sys.executable, "-c", code], cpus=CPUS)
        time.sleep(0.3)
    assert not alive(program.pid)


def test_a_program_that_fails_is_quoted(tmp_path: Path) -> None:
    with ProcessGroup(tmp_path) as group:
        program = group.start(
            "broken", [sys.executable, "-c", "raise SystemExit('no such thing')"], cpus=CPUS
        )
        with pytest.raises(BenchError, match="no such thing"):
            program.wait_for("127.0.0.1", 1)
        with pytest.raises(BenchError, match="could not start"):
            group.start("missing", [tmp_path / "none"], cpus=CPUS)


@pytest.mark.slow
def test_a_program_that_chooses_its_port_is_found_on_it(tmp_path: Path) -> None:
    code = "import socket, time; s = socket.create_server(('127.0.0.1', 0)); time.sleep(60)"
    two = code.replace("time.sleep", "t = socket.create_server(('127.0.0.1', 0)); time.sleep")
    with ProcessGroup(tmp_path) as group:
        program = group.start("one", [sys.executable, "-c", code], cpus=CPUS)
        port = program.wait_for_port()
        program.wait_for("127.0.0.1", port)
        with pytest.raises(BenchError, match="ended with code 3"):
            group.start("none", [sys.executable, "-c", "raise SystemExit(3)"], cpus=CPUS).wait_for_port()
        both = group.start("two", [sys.executable, "-c", f"{two}"], cpus=CPUS)
        wait_until(lambda: len(listening_ports(both.pids())) == 2, "it listens on both")
        with pytest.raises(BenchError, match="several ports"):
            both.wait_for_port()


def test_listening_processes_and_ports_are_found_by_the_socket() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        assert os.getpid() in listening_pids(port)
        assert port in listening_ports([os.getpid()])
    assert listening_pids(1) == []


def test_what_a_process_uses_is_measured() -> None:
    meter = UsageMeter([os.getpid()])
    total = 0

    def has_used_some() -> bool:
        nonlocal total
        total += sum(number * number for number in range(200_000))
        return meter.used() > 0

    wait_until(has_used_some, "the work is measured, in hundredths of a second")
    assert meter.memory() > 1 << 20
    with pytest.raises(ProcessLookupError):
        cpu_seconds(2**22 - 1)
    with pytest.raises(ProcessLookupError):
        resident_bytes(2**22 - 1)
