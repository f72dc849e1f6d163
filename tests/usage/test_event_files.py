"""Files for events that cannot be sent: bounded, private, and read again after any crash."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gateway.usage.event_files import EventFile, take_left_file


def test_batches_come_back_in_their_order_and_in_parts(tmp_path: Path) -> None:
    file = EventFile(tmp_path, "w", 10_000)
    assert file.append([b"one", b"two" * 100]) == 2
    assert file.append([b"three"]) == 1
    first, offset = file.read(0, 1)
    rest, end = file.read(offset, 1000)
    assert (first, rest, end) == ([b"one"], [b"two" * 100, b"three"], file.size)
    file.clear()
    assert file.read(0, 1000) == ([], 0)
    file.close()
    assert not list((tmp_path / "events").iterdir())


def test_only_the_owner_may_read_it(tmp_path: Path) -> None:
    file = EventFile(tmp_path, "w", 10_000)
    file.append([b"one"])
    assert (tmp_path / "events").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "events" / "w.events").stat().st_mode & 0o777 == 0o600
    file.close()


def test_it_never_has_more_bytes_than_it_may(tmp_path: Path) -> None:
    file = EventFile(tmp_path, "w", 100)
    assert file.append([b"x" * 40, b"y" * 40, b"z" * 40]) == 2
    assert file.append([b"z"]) == 0
    assert file.size == (tmp_path / "events" / "w.events").stat().st_size == 96
    file.close()


@pytest.mark.parametrize("left", range(1, 12))
def test_a_record_that_a_crash_cut_off_is_dropped(tmp_path: Path, left: int) -> None:
    file = EventFile(tmp_path, "w", 10_000)
    file.append([b"whole", b"cut"])
    file.close()
    path = tmp_path / "events" / "w.events"
    os.truncate(path, path.stat().st_size - left)
    taken = take_left_file(tmp_path)
    assert taken is not None
    assert list(taken.batches()) == [b"whole"]
    taken.remove()
    assert take_left_file(tmp_path) is None


def test_a_damaged_record_ends_the_file(tmp_path: Path) -> None:
    file = EventFile(tmp_path, "w", 10_000)
    file.append([b"whole", b"damaged", b"after"])
    file.close()
    path = tmp_path / "events" / "w.events"
    path.write_bytes(path.read_bytes().replace(b"damaged", b"damagee"))
    taken = take_left_file(tmp_path)
    assert taken is not None
    assert list(taken.batches()) == [b"whole"]
    taken.leave()


def test_the_file_of_a_worker_that_runs_is_left_alone(tmp_path: Path) -> None:
    assert take_left_file(tmp_path) is None
    file = EventFile(tmp_path, "w", 10_000)
    file.append([b"one"])
    assert take_left_file(tmp_path) is None
    file.close()
    taken = take_left_file(tmp_path)
    assert taken is not None
    assert take_left_file(tmp_path) is None
    taken.leave()
