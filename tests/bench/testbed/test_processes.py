"""What is started is stopped, and what it used is seen."""

import os
import socket
import sys
import time
from pathlib import Path

import pytest

from bench.errors import BenchError
from bench.testbed.processes import Crew
from bench.testbed.usage import Meter, cpu_seconds, descendants, listening_pids, resident_bytes

SLEEP = (sys.executable, "-c", "import time; time.sleep(60)")
CPUS = sorted(os.sched_getaffinity(0))


def alive(pid: int) -> bool:
    return os.path.exists(f"/proc/{pid}")


def test_a_crew_ends_with_its_block(tmp_path: Path) -> None:
    with Crew(tmp_path) as crew:
        pids = [crew.start("sleeper", SLEEP, cpus=CPUS[:1]).pid for _ in range(2)]
        assert os.sched_getaffinity(pids[0]) == set(CPUS[:1])
        assert set(pids) <= set(descendants(os.getpid()))
    assert not any(map(alive, pids))


def test_programs_share_our_session_but_not_our_ctrl_c(tmp_path: Path) -> None:
    with Crew(tmp_path) as crew:
        pid = crew.start("sleeper", SLEEP, cpus=CPUS).pid
        assert os.getsid(pid) == os.getsid(0)
        assert os.getpgid(pid) == pid != os.getpgid(0)


def test_a_crew_ends_with_an_exception_too(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), Crew(tmp_path) as crew:  # noqa: PT012
        pid = crew.start("sleeper", SLEEP, cpus=CPUS).pid
        raise KeyboardInterrupt
    assert not alive(pid)


def test_a_program_that_does_not_listen_to_sigterm_is_ended_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.testbed.processes.STOP_SECONDS", 0.2)
    code = "import signal, sys, time; signal.signal(15, signal.SIG_IGN); print(1, flush=True); time.sleep(60)"
    with Crew(tmp_path) as crew:
        program = crew.start("stubborn", [sys.executable, "-c", code], cpus=CPUS)
        time.sleep(0.3)
    assert not alive(program.pid)


def test_a_program_that_fails_is_quoted(tmp_path: Path) -> None:
    with Crew(tmp_path) as crew:
        program = crew.start("broken", [sys.executable, "-c", "raise SystemExit('no such thing')"], cpus=CPUS)
        with pytest.raises(BenchError, match="no such thing"):
            program.wait_for("127.0.0.1", 1)
        with pytest.raises(BenchError, match="could not start"):
            crew.start("missing", [tmp_path / "none"], cpus=CPUS)


def test_who_listens_is_found_by_the_socket() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        assert os.getpid() in listening_pids(listening.getsockname()[1])
    assert listening_pids(1) == []


def test_what_a_process_uses_is_read() -> None:
    meter = Meter([os.getpid()])
    total = sum(number * number for number in range(200_000))
    assert total > 0
    assert meter.used() > 0
    assert meter.memory() > 1 << 20
    with pytest.raises(ProcessLookupError):
        cpu_seconds(2**22 - 1)
    with pytest.raises(ProcessLookupError):
        resident_bytes(2**22 - 1)
