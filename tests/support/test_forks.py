"""Tests in several forked processes: each test runs once, a crash costs one, Ctrl-C ends all processes."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.support.processes import ROOT
from tests.support.shares import PIECE, Group, Shares
from tests.support.waiting import wait_until

SECONDS = 120

SOME = """
import os, pytest

@pytest.fixture(scope="session", autouse=True)
def made(tmp_path_factory):
    print("made by", os.getpid())
    yield
    open(os.environ["ENDS"], "a").write("end\\n")

@pytest.mark.parametrize("number", range(30))
def test_of_many(number):
    print("output of", number)
    assert number != 13

def test_left_out():
    pytest.skip("for a reason")
"""
CRASH = """
import os, pytest

@pytest.mark.parametrize("number", range(12))
def test_some(number):
    if number == 5:
        os._exit(7)
"""
BROKEN_END = """
import pytest

@pytest.fixture(scope="session")
def broken():
    yield
    raise ValueError("no end")

def test_it(broken):
    pass
"""
WAIT = """
import os, time, pytest

@pytest.fixture
def ending():
    open(os.environ["ENDS"], "a").write("begin\\n")
    yield
    open(os.environ["ENDS"], "a").write("end\\n")

@pytest.mark.parametrize("number", range(3))
def test_waits(ending, number):
    time.sleep(600)
"""


def start(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    (folder / "pytest.ini").write_text("[pytest]\naddopts = -q -p no:schemathesis\n")
    return subprocess.Popen(
        [sys.executable, "-m", "pytest", "-p", "tests.support.forks", "--processes", "3", *arguments],
        cwd=folder,
        env={"PYTHONPATH": str(ROOT), "ENDS": str(folder / "ends"), "PATH": ""},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def run(folder: Path, **modules: str) -> tuple[int, str]:
    """The exit code of pytest in a folder of these modules, and what it printed."""
    for name, text in modules.items():
        (folder / f"test_{name}.py").write_text(text)
    with start(folder) as process:
        printed, _ = process.communicate(timeout=SECONDS)
    return process.returncode, printed


def test_every_test_runs_once(tmp_path: Path) -> None:
    code, printed = run(tmp_path, some=SOME)
    assert code == 1, printed
    assert re.search(r"1 failed, 29 passed, 1 skipped in", printed)
    assert "FAILED test_some.py::test_of_many[13]" in printed
    assert "output of 13\n" in printed
    assert "output of 12\n" not in printed
    assert set((tmp_path / "ends").read_text().split()) == {"end"}


def test_a_crash_costs_one_test(tmp_path: Path) -> None:
    code, printed = run(tmp_path, crash=CRASH)
    assert code == 1, printed
    assert "1 failed, 11 passed in" in printed
    assert "FAILED test_crash.py::test_some[5]" in printed
    assert "the process that ran this test ended with code 7" in printed


def test_a_failure_of_the_last_end_is_reported(tmp_path: Path) -> None:
    code, printed = run(tmp_path, end=BROKEN_END)
    assert code == 1, printed
    assert "1 passed, 1 error in" in printed
    assert "ValueError: no end" in printed


def test_control_c_ends_every_process_in_order(tmp_path: Path) -> None:
    (tmp_path / "test_wait.py").write_text(WAIT)
    ends = tmp_path / "ends"
    ends.touch()
    with start(tmp_path) as process:
        wait_until(lambda: "begin" in ends.read_text(), "a test has begun")
        process.send_signal(signal.SIGINT)
        printed, _ = process.communicate(timeout=SECONDS)
    assert process.returncode == 2, printed
    said = Counter(ends.read_text().split())
    assert said["end"] == said["begin"]


def test_no_more_than_the_failures_that_are_asked_for(tmp_path: Path) -> None:
    (tmp_path / "test_many.py").write_text(
        "import pytest\n@pytest.mark.parametrize('number', range(2000))\ndef test_it(number): assert 0\n"
    )
    with start(tmp_path, "--maxfail=1", "--tb=no") as process:
        printed, _ = process.communicate(timeout=SECONDS)
    assert process.returncode == 1
    assert "1 failed in" in printed


@pytest.mark.parametrize("processes", [1, 2, 5])
def test_all_tests_are_handed_out_once(processes: int) -> None:
    modules = [
        Path(f"tests/{folder}/test_{name}.py") for folder in "abc" for name in "xyz" for _ in range(11)
    ]
    shares = Shares(modules)
    groups: list[Group | None] = [None] * processes
    given: list[int] = []
    while True:
        for number in range(processes):
            groups[number], numbers = shares.take(groups[number])
            assert len(numbers) <= PIECE
            given += numbers
        if not any(groups):
            break
    assert sorted(given) == list(range(len(modules)))


def test_a_process_stays_with_its_module_and_its_folder() -> None:
    modules = [Path(f"tests/{folder}/test_{name}.py") for folder in "ab" for name in "xy" for _ in range(6)]
    shares = Shares(modules)
    first, given = shares.take()
    assert (first and first.module, given) == (Path("tests/a/test_x.py"), [0, 1, 2, 3])
    second, given = shares.take()
    assert second is not None
    assert second.folder == Path("tests/b")
    assert shares.take(first)[1] == [4, 5]
    third, given = shares.take(first)
    assert (third and third.module, given) == (Path("tests/a/test_y.py"), [6, 7, 8, 9])


def test_what_a_process_did_not_come_to_is_handed_out_again() -> None:
    shares = Shares([Path("tests/a/test_x.py")] * 3)
    group, given = shares.take()
    assert group is not None
    assert given == [0, 1, 2]
    shares.put_back(group, [1, 2])
    assert shares.take()[1] == [1, 2]
    assert shares.take() == (None, [])
