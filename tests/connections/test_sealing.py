"""Secrets at rest: nobody reads them without the key, and none can be put in another's place."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from gateway.connections.sealing import KEY_FILE, SealError, SecretBox

SECRET = {"secrets": ["whsec_abc"], "api_key": None}


def test_what_was_sealed_is_opened_by_another_process(tmp_path: Path) -> None:
    sealed = SecretBox(tmp_path / "data").seal(SECRET, "c1")
    assert b"whsec" not in sealed
    assert SecretBox(tmp_path / "data").open(sealed, "c1") == SECRET
    key = tmp_path / "data" / KEY_FILE
    assert (key.stat().st_mode & 0o777, len(key.read_bytes())) == (0o600, 32)
    assert [each.name for each in key.parent.iterdir()] == [KEY_FILE]


def test_the_same_secret_is_sealed_differently_each_time(tmp_path: Path) -> None:
    box = SecretBox(tmp_path)
    assert box.seal(SECRET, "c1") != box.seal(SECRET, "c1")


def test_a_sealed_value_is_of_one_row(tmp_path: Path) -> None:
    box = SecretBox(tmp_path)
    sealed = box.seal(SECRET, "c1")
    damaged = bytes([*sealed[:-1], sealed[-1] ^ 1])
    for value, name in ((sealed, "c2"), (damaged, "c1"), (b"", "c1"), (sealed[:12], "c1")):
        with pytest.raises(SealError, match="stored with another key"):
            box.open(value, name)


def test_another_or_no_key_says_what_to_do(tmp_path: Path) -> None:
    sealed = SecretBox(tmp_path / "one").seal(SECRET, "c1")
    with pytest.raises(SealError, match="it or its folder does not exist"):
        SecretBox(tmp_path / "two").open(sealed, "c1")
    (tmp_path / "three").mkdir()
    (tmp_path / "three" / KEY_FILE).write_bytes(b"short")
    with pytest.raises(SealError, match="is damaged"):
        SecretBox(tmp_path / "three").open(sealed, "c1")


def test_processes_that_begin_together_have_one_key(tmp_path: Path) -> None:
    boxes = [SecretBox(tmp_path) for _ in range(8)]
    sealed: list[bytes] = []
    threads = [threading.Thread(target=lambda box=box: sealed.append(box.seal(SECRET, "c"))) for box in boxes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [SecretBox(tmp_path).open(each, "c") for each in sealed] == [SECRET] * 8


ONE, TWO = "11" * 32, "22" * 32


def test_a_key_may_be_a_setting_and_be_replaced(tmp_path: Path) -> None:
    of_file = SecretBox(tmp_path).seal(SECRET, "c1")
    first = SecretBox(tmp_path, ONE)
    assert first.open(of_file, "c1") == SECRET, "the file was the key before"
    assert not first.is_current(of_file, "c1")
    sealed = first.seal(SECRET, "c1")
    assert first.is_current(sealed, "c1")
    second = SecretBox(tmp_path / "elsewhere", TWO, ONE)
    assert second.open(sealed, "c1") == SECRET
    assert not second.is_current(sealed, "c1")
    assert SecretBox(tmp_path / "elsewhere", TWO).open(second.seal(SECRET, "c1"), "c1") == SECRET
    with pytest.raises(SealError, match="another key than the setting `secrets_key`"):
        SecretBox(tmp_path / "elsewhere", TWO).open(sealed, "c1")
    assert not (tmp_path / "elsewhere").exists()


def test_a_file_that_has_no_key_is_told_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(SealError, match="The file of the setting secrets_key cannot be used") as told:
        SecretBox(tmp_path, str(tmp_path / "none")).seal(SECRET, "c1")
    assert "\n" not in str(told.value)
    (tmp_path / "short").write_text("hunter2")
    with pytest.raises(SealError, match="The file of the setting secrets_old_key must be 32 bytes"):
        SecretBox(tmp_path, ONE, str(tmp_path / "short")).open(b"", "c1")
