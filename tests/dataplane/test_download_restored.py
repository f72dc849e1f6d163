"""Files that are the same under other times, and files that are not under the same: real files, two workers.

Each case changes a published file on the disk; the table says whether its content is still the published one.
Then it is served, as a whole and in parts, or refused with 502. Never is a byte of another content sent.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from gateway.storage.local.comparisons import FREE_FAILURES
from tests.support.plane import Plane, run_plane, whole_lines
from tests.support.waiting import wait_until

DAY = 86_400 * 10**9
OTHERS = "has other content"
CHANGED = "changed since it was published"


@pytest.fixture(scope="module")
def workers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plane]:
    with run_plane(tmp_path_factory.mktemp("restored"), workers=2) as plane:
        plane.expected += [CHANGED, "is missing", "a file changed while it was sent"]
        yield plane


def events(plane: Plane, text: str, key: str) -> list[dict[str, Any]]:
    """What the workers have logged about a comparison of this file."""
    lines = [line for worker in plane.workers for line in whole_lines(worker.errors)]
    logged = sorted((json.loads(line) for line in lines), key=lambda line: str(line["time"]))
    return [line for line in logged if text in line["event"] and line.get("key") == key]


def compared(plane: Plane, key: str) -> list[dict[str, Any]]:
    return events(plane, "was compared with its SHA-256", key)


# --- the same bytes -----------------------------------------------------------------------------------------


def whole_seconds(path: Path) -> None:
    """GNU tar, zip, container layers."""
    os.utime(path, ns=(1, path.stat().st_mtime_ns // 10**9 * 10**9))


def tar(path: Path) -> None:
    archive = path.with_suffix(".tar")
    subprocess.run(["tar", "-cf", archive, "-C", path.parent, path.name], check=True)
    path.unlink()
    subprocess.run(["tar", "-xf", archive, "-C", path.parent], check=True)


def copy(path: Path) -> None:
    """`cp` and `rsync` without -t: another inode, the time of now."""
    shutil.copyfile(path, path.with_suffix(".copy"))
    path.with_suffix(".copy").replace(path)


def copy_with_times(path: Path) -> None:
    """`cp -p`, `rsync -t`."""
    shutil.copy2(path, path.with_suffix(".copy"))
    path.with_suffix(".copy").replace(path)


def hard_link(path: Path) -> None:
    """A backup with hard links changes only the change time."""
    os.link(path, path.with_suffix(".link"))


def permissions(path: Path) -> None:
    path.chmod(0o640)


def epoch(path: Path) -> None:
    os.utime(path, ns=(0, 0))


def future(path: Path) -> None:
    os.utime(path, ns=(1, time.time_ns() + 400 * DAY))


SAME = [whole_seconds, tar, copy, copy_with_times, hard_link, permissions, epoch, future]


# --- other bytes of the same size ---------------------------------------------------------------------------


def other(path: Path) -> bytes:
    return bytes(byte ^ 255 for byte in path.read_bytes())


def rename_over(path: Path) -> None:
    """A build with fixed times (Nix, OSTree, SOURCE_DATE_EPOCH) in the place of another."""
    facts = path.stat()
    fresh = path.with_suffix(".fresh")
    fresh.write_bytes(other(path))
    os.utime(fresh, ns=(1, facts.st_mtime_ns))
    fresh.replace(path)


def in_place(path: Path) -> None:
    """`touch -r` after a write in place: only the change time tells."""
    facts = path.stat()
    path.write_bytes(other(path))
    os.utime(path, ns=(1, facts.st_mtime_ns))


def in_place_with_a_new_time(path: Path) -> None:
    path.write_bytes(other(path))
    os.utime(path, ns=(1, path.stat().st_mtime_ns + 10**9))


def hard_link_of_another(path: Path) -> None:
    facts = path.stat()
    fresh = path.with_suffix(".other")
    fresh.write_bytes(other(path))
    os.utime(fresh, ns=(1, facts.st_mtime_ns))
    path.unlink()
    os.link(fresh, path)


OTHER = [rename_over, in_place, in_place_with_a_new_time, hard_link_of_another]


@pytest.mark.parametrize("size", [0, 100, 300_000])
@pytest.mark.parametrize("fixed", [False, True], ids=["written", "fixed-time"])
@pytest.mark.parametrize("change", SAME)
def test_the_same_bytes_are_served_after_one_comparison(
    workers: Plane, change: Callable[[Path], None], fixed: bool, size: int
) -> None:
    content = os.urandom(size)
    published = workers.publish(content, modified=10**9 if fixed else None)
    target = workers.link(published)
    assert workers.get(target).body == content
    before = published.path.stat()
    first = len(compared(workers, published.file.key))
    change(published.path)
    answer = workers.get(target, "Range: bytes=10-")
    assert (answer.status, answer.body) == ((206, content[10:]) if size else (200, b""))
    for _ in range(4):
        answer = workers.get(target)
        assert (answer.status, answer.body, answer["ETag"]) == (200, content, published.etag)
    if before.st_ctime_ns != published.path.stat().st_ctime_ns:
        logged = compared(workers, published.file.key)[first:]
        assert [line["event"] for line in logged] == [
            "a file was compared with its SHA-256 and is as published"
        ]
        assert "instead of" in logged[0]["why"]


@pytest.mark.parametrize("size", [100, 300_000])
@pytest.mark.parametrize("asked", [False, True], ids=["first request", "asked before"])
@pytest.mark.parametrize("fixed", [False, True], ids=["written", "fixed-time"])
@pytest.mark.parametrize("change", OTHER)
def test_other_bytes_are_never_sent(
    workers: Plane, change: Callable[[Path], None], fixed: bool, asked: bool, size: int
) -> None:
    """Nothing was seen here of a file that was not asked for: then a time with a fraction is believed."""
    content = os.urandom(size)
    published = workers.publish(content, modified=10**9 if fixed else None)
    target = workers.link(published, maximum=3)
    if asked or not fixed:
        assert workers.get(target).body == content
    time.sleep(0.01)  # a later tick of the clock that file systems use
    change(published.path)
    first = len(compared(workers, published.file.key))
    for _ in range(3):
        for fields in ((), ("Range: bytes=5-9",), ("Range: bytes=50-", f"If-Range: {published.etag}")):
            answer = workers.get(target, *fields)
            assert (answer.status, answer.code) == (502, "storage_failed")
    assert [OTHERS in line["event"] for line in compared(workers, published.file.key)[first:]] == [True]
    published.path.write_bytes(content)
    for _ in range(4):
        assert workers.get(target, "Range: bytes=5-9").body == content[5:10]


def test_of_files_first_seen_only_those_are_read_whose_time_cannot_tell(workers: Plane) -> None:
    content = os.urandom(1000)
    written, fixed = workers.publish(content), workers.publish(content, modified=5 * 10**9)
    for published in (written, fixed):
        assert workers.get(workers.link(published)).body == content
    assert compared(workers, written.file.key) == []
    [line] = compared(workers, fixed.file.key)
    assert (line["level"], line["bytes"]) == ("info", 1000)
    assert "cannot tell" in line["why"]


def test_many_requests_at_once_share_one_comparison(workers: Plane) -> None:
    content = os.urandom(20_000_000)
    published = workers.publish(content)
    target = workers.link(published)
    copy(published.path)
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda _: workers.get(target, "Range: bytes=-7"), range(32)))
    assert {(answer.status, answer.body) for answer in answers} == {(206, content[-7:])}
    assert len(compared(workers, published.file.key)) == 1


@pytest.mark.slow
def test_a_file_that_keeps_changing_is_not_read_again_and_again(workers: Plane) -> None:
    content = os.urandom(1000)
    published = workers.publish(content)
    target = workers.link(published)
    assert workers.get(target).status == 200
    for number in range(2 * FREE_FAILURES):
        published.path.write_bytes(other(published.path) if number % 2 == 0 else os.urandom(1000))
        os.utime(published.path, ns=(1, 7 * 10**9 + number))
        assert workers.get(target).status == 502
    assert 0 < len(compared(workers, published.file.key)) <= FREE_FAILURES + 1
    answer = workers.get(target)
    assert int(answer["Retry-After"]) >= 1
    published.path.write_bytes(content)
    wait_until(lambda: workers.get(target).status == 200, "the pause has ended", seconds=10)


def test_a_restart_compares_nothing_again(tmp_path: Path) -> None:
    with run_plane(tmp_path) as plane:
        content = os.urandom(5000)
        published = plane.publish(content)
        copy(published.path)
        target = plane.link(published)
        assert plane.get(target).body == content
        [worker] = plane.workers
        assert len(compared(plane, published.file.key)) == 1
        plane.lose(worker)
        plane.start()
        assert plane.get(target).body == content
        assert len(compared(plane, published.file.key)) == 1, "the new worker compared nothing"


@pytest.mark.slow
def test_a_file_written_and_dated_back_while_it_is_sent_breaks_the_connection(workers: Plane) -> None:
    content = os.urandom(40_000_000)
    published = workers.publish(content)
    with workers.connect(receive_buffer=4096) as client:
        client.send(f"GET {workers.link(published)} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        client.read_head()
        assert client.read_bytes(100_000) == content[:100_000]
        in_place(published.path)
        got = client.read_until_closed()
    assert len(got) < len(content) - 100_000


@pytest.mark.slow
@pytest.mark.parametrize("change", [hard_link, permissions, Path.unlink], ids=lambda each: each.__name__)
def test_a_file_linked_or_deleted_while_it_is_sent_is_sent_to_the_end(
    workers: Plane, change: Callable[[Path], None]
) -> None:
    content = os.urandom(20_000_000)
    published = workers.publish(content)
    with workers.connect(receive_buffer=4096) as client:
        client.send(f"GET {workers.link(published)} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        client.read_head()
        assert client.read_bytes(100_000) == content[:100_000]
        change(published.path)
        assert client.read_bytes(len(content) - 100_000) == content[100_000:]
