"""The folder of an embedded store: one owner, its users, and what others can read of it."""

from __future__ import annotations

import os
import stat
import threading
from pathlib import Path

import pytest

from gateway.errors import GatewayError
from gateway.store.folder import StoreFolder, announced_url


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


def test_the_second_owner_learns_who_is_the_first(data: Path) -> None:
    first = StoreFolder(data)
    first.acquire("up")
    assert first.owned
    with pytest.raises(GatewayError) as caught:
        StoreFolder(data).acquire("up")
    assert f"is in use by process {os.getpid()} (download-gateway up): stop it, or" in str(caught.value)
    assert "--data" in str(caught.value)
    first.close()
    second = StoreFolder(data)
    second.acquire("serve")
    second.close()


@pytest.mark.parametrize(("command", "expected"), [("up", True), ("serve-web", True), ("token list", False)])
def test_long_running_owners_are_known(data: Path, command: str, expected: bool) -> None:
    owner = StoreFolder(data)
    assert not owner.is_owned_by_long_running()
    owner.acquire(command)
    other = StoreFolder(data)
    assert other.is_owned_by_long_running() is expected
    owner.close()
    assert not other.is_owned_by_long_running()


def test_a_short_command_is_waited_for(data: Path) -> None:
    short = StoreFolder(data)
    short.acquire("token list")
    threading.Timer(0.1, short.close).start()
    waiting = StoreFolder(data)
    waiting.acquire("up")
    assert waiting.owned
    waiting.close()


def test_users_keep_the_owner_from_leaving_and_the_leaving_owner_keeps_out_users(data: Path) -> None:
    owner, user, late = StoreFolder(data), StoreFolder(data), StoreFolder(data)
    owner.acquire("token list")
    assert user.attach()
    threading.Timer(0.1, user.detach).start()
    owner.wait_unused()
    assert not late.attach()
    owner.close()
    assert late.attach()


def test_a_folder_is_private(data: Path) -> None:
    folder = StoreFolder(data)
    folder.acquire("up")
    assert stat.S_IMODE(folder.folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder.folder / "lock").stat().st_mode) == 0o600
    folder.close()


def test_a_long_path_is_reached_through_a_descriptor(tmp_path: Path) -> None:
    short, long = StoreFolder(tmp_path / "data"), StoreFolder(tmp_path / ("long " * 30))
    assert short.url == f"unix://{tmp_path}/data/store/store.sock"
    [descriptor] = long.descriptors
    assert long.url == f"unix:///proc/self/fd/{descriptor}/store.sock"


def test_the_owner_announces_what_links_begin_with(data: Path) -> None:
    assert announced_url(data) is None
    store = StoreFolder(data)
    store.announce("up", "http://nobody.example")  # not its owner: says nothing
    store.acquire("up")
    assert announced_url(data) is None
    store.announce("up", "http://shop.example")
    assert announced_url(data) == "http://shop.example"
    with pytest.raises(GatewayError, match=r"download-gateway up"):
        StoreFolder(data).acquire("up")
    store.close()
    assert announced_url(data) is None
    (data / "store" / "lock").write_text('{"pid": 1073741824, "command": "up", "url": "http://gone"}')
    assert announced_url(data) is None  # the owner that announced it was killed


def test_an_unusable_folder_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(
        GatewayError, match=r"file.* cannot be used \(.*\): make it writable, or choose another"
    ):
        StoreFolder(tmp_path / "file" / "data")
