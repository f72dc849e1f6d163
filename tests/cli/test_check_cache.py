"""What `check` says about the cache: the state of its folder, and the free space of its disk."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.cli.checks import Level
from gateway.cli.checks.cache import check_cache
from tests.support.console import Gateway, report

MIB = 1024 * 1024


@pytest.mark.slow
def test_a_folder_that_can_be_made_is_not_made(gateway: Gateway, tmp_path: Path) -> None:
    path = tmp_path / "deep" / "cache"
    assert "cache" not in report(gateway, "--quick")
    found = report(gateway, "--quick", "--cache-path", path, "--cache-max-bytes", "64 MiB")["cache"]
    assert (found["result"], found["text"]) == ("ok", f"{path} can be made; there is room for its 64.0 MiB")
    assert not path.parent.exists()


def test_a_folder_that_is_in_use(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    (tmp_path / "ab").mkdir()
    (tmp_path / "ab" / "slice").write_bytes(bytes(3 * MIB))
    found = check_cache(tmp_path, 64 * MIB)
    assert (found.level, "holds 3.0 MiB" in found.text) == (Level.OK, True)


def test_more_than_the_disk_has(tmp_path: Path) -> None:
    """What the cache holds already is its own room."""
    found = check_cache(tmp_path / "cache", 2 * shutil.disk_usage(tmp_path).total)
    assert found.level is Level.WARN
    assert "lower cache.max_bytes" in found.line


def test_folders_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "nowhere").symlink_to(tmp_path / "gone")
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    for name, words in (
        ("file", "is not a folder"),
        ("file/below", "cannot be made"),
        ("nowhere", "is not a folder"),
        ("open", "others may write"),
    ):
        found = check_cache(tmp_path / name, 64 * MIB)
        assert (found.level, words in found.text, bool(found.remedy)) == (Level.FAIL, True, True), found


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives folders away")
def test_root_looks_at_the_folder_of_the_gateways_user(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    os.chown(tmp_path, 12345, -1)
    found = check_cache(tmp_path, 64 * MIB)
    assert (found.level, found.text) == (Level.WARN, f"{tmp_path} belongs to 12345")
    assert "right if the gateway runs as that user" in found.remedy
    tmp_path.chmod(0o770)
    assert "others may write" in check_cache(tmp_path, 64 * MIB).text


def test_another_users_folder() -> None:
    if os.geteuid() == 0:  # what a user sees of a folder of root's
        look = "from pathlib import Path; from gateway.cli.checks.cache import check_cache as look"
        found = subprocess.run(
            [sys.executable, "-c", f"{look}; import os; os.setuid(12345); print(look(Path('/usr'), 1).text)"],
            check=True,
            capture_output=True,
            text=True,
        ).stdout
    else:
        found = check_cache(Path("/usr"), 1).text
    assert "/usr belongs to another user" in found


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "locked").mkdir(mode=0o500)
    assert "cannot be written" in check_cache(tmp_path / "locked", 64 * MIB).text
    assert "cannot be made" in check_cache(tmp_path / "locked" / "cache", 64 * MIB).text
