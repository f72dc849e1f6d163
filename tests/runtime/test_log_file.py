"""A log's file: what is wrong with a path before it is used, and what may happen to the file afterwards."""

from __future__ import annotations

import os
import resource
import shutil
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.runtime import log_file
from gateway.runtime.log_file import LogFile, find_fault


def make_folder(path: Path) -> None:
    path.mkdir()


def make_fifo(path: Path) -> None:
    os.mkfifo(path)


def make_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(path))


def link_to(target: str) -> Callable[[Path], None]:
    return lambda path: path.symlink_to(target)


def make_nothing(_: Path) -> None:
    """Leave the path as it is."""


@pytest.mark.parametrize(
    ("name", "make", "fault"),
    [
        ("a.log", make_nothing, None),
        ("a.log", Path.touch, None),
        ("a.log", link_to("b.log"), None),
        ("a.log", link_to("/dev/null"), None),
        (
            "none/a.log",
            make_nothing,
            "the folder {folder}/none does not exist: make it, or name another file",
        ),
        ("none/none/a.log", make_nothing, "the folder {folder}/none/none does not exist"),
        ("file/a.log", make_nothing, "{folder}/file is not a folder"),
        ("a.log", make_folder, "{folder}/a.log is a folder: name a file in it"),
        ("a.log", make_fifo, "{folder}/a.log is a pipe or a socket that no program reads"),
        ("a.log", make_socket, "{folder}/a.log is a pipe or a socket that no program reads"),
        (
            "a.log",
            link_to("none/b.log"),
            "{folder}/a.log is a link to a file in {folder}/none, which does not",
        ),
        ("a.log", link_to("/dev/full"), "the disk of {folder} is full"),
    ],
)
def test_what_is_wrong_with_a_path(
    name: str, make: Callable[[Path], None], fault: str | None, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    path = tmp_path / name
    make(path)
    before = sorted(tmp_path.iterdir())
    found = find_fault(path)
    assert sorted(tmp_path.iterdir()) == before, "nothing is made"
    if fault is None:
        assert found is None
    else:
        assert found
        assert found.startswith(fault.format(folder=tmp_path))
        assert "\n" not in found


@pytest.mark.skipif(
    os.geteuid() == 0, reason="root may write everywhere; see tests/cli/test_check_access_log.py"
)
def test_a_folder_or_file_without_the_right_to_write(tmp_path: Path) -> None:
    (tmp_path / "a.log").touch(mode=0o400)
    assert (find_fault(tmp_path / "a.log") or "").startswith(f"{tmp_path}/a.log cannot be written")
    tmp_path.chmod(0o500)
    assert (find_fault(tmp_path / "b.log") or "").startswith(f"no file can be made in {tmp_path}")
    tmp_path.chmod(0o700)


def test_a_pipe_with_a_reader_is_a_file_to_write_to(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    assert find_fault(path) is None
    log = LogFile("access_log", str(path))
    assert log.write(b"a\n", 1) == 0
    assert os.read(reader, 10) == b"a\n"
    log.close()
    os.close(reader)


@pytest.fixture
def no_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """The path is looked at before each write."""
    monkeypatch.setattr(log_file, "CHECK_SECONDS", 0.0)


def write(log: LogFile, *lines: str) -> int:
    return sum(log.write(f"{line}\n".encode(), 1) for line in lines)


@pytest.mark.usefixtures("no_wait")
def test_lines_follow_the_path_when_the_file_was_moved(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path, moved = tmp_path / "a.log", tmp_path / "a.log.1"
    log = LogFile("access_log", str(path))
    write(log, "1")
    path.rename(moved)
    write(log, "2")  # the path is missing, for a moment as it seems
    path.touch()
    write(log, "3")  # as after logrotate's `create`
    path.rename(moved.with_suffix(".2"))
    write(log, "4", "5")  # and without it
    path.rename(moved.with_suffix(".3"))
    log.reopen()  # as at SIGUSR1
    write(log, "6")
    assert moved.read_text() == "1\n2\n"
    assert moved.with_suffix(".2").read_text() == "3\n4\n"
    assert moved.with_suffix(".3").read_text() == "5\n"
    assert path.read_text() == "6\n"
    assert caplog.messages == []
    log.close()


@pytest.mark.usefixtures("no_wait")
def test_a_folder_that_vanishes_is_told_once_and_used_again_when_it_is_back(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "logs" / "a.log"
    path.parent.mkdir()
    log = LogFile("access_log", str(path))
    write(log, "1")
    shutil.rmtree(path.parent)
    write(log, *"2345")
    assert caplog.messages == [
        f"access_log: {path} cannot be written (it or its folder does not exist): "
        "lines may be lost until it can be, and downloads go on"
    ]
    path.parent.mkdir()
    write(log, "6")
    assert path.read_text() == "6\n"
    assert caplog.messages[1:] == [f"access_log: {path} is written again; lines that are lost: 0"]
    log.close()


@pytest.mark.usefixtures("no_wait")
def test_a_file_that_could_not_be_opened_is_tried_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "logs" / "a.log"
    log = LogFile("access_log", str(path))
    assert write(log, "1", "2") == 2
    path.parent.mkdir()
    assert write(log, "3") == 0
    assert path.read_text() == "3\n"
    assert len(caplog.messages) == 2
    assert caplog.messages[1].endswith("lines that are lost: 2")
    log.close()


def test_a_full_disk_is_told_once_and_damages_one_line_at_most(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "a.log"
    log = LogFile("access_log", str(path))
    assert log.write(b"first\n", 1) == 0
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (9, hard))  # as if the disk had room for nine bytes
        assert log.write(b"second\nthird\n", 2) == 2
        assert log.write(b"fourth\n", 1) == 1
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert log.write(b"fifth\n", 1) == 0
    assert path.read_text() == "first\nsec\nfifth\n"
    assert len(caplog.messages) == 2
    assert caplog.messages[0].startswith(
        f"access_log: {path} cannot be written (it is larger than files may be here)"
    )
    assert caplog.messages[1].endswith("lines that are lost: 3")
    log.close()
