"""Files that change, vanish or cannot be read, while they are published or sent."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.secrets import token_id
from gateway.store.key_names import token_key
from tests.support.downloads import IN_FLIGHT, begin
from tests.support.plane import Plane
from tests.support.publications import Published
from tests.support.waiting import wait_until

LARGE = 40_000_000


def delete(path: Path) -> None:
    path.unlink()


def truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def empty(path: Path) -> None:
    os.truncate(path, 0)


def grow(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"more")


def touch(path: Path) -> None:
    os.utime(path)


def overwrite(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(bytes(path.stat().st_size))


def replace(path: Path) -> None:
    """Another file of the same size, renamed into place."""
    fresh = path.with_suffix(".new")
    fresh.write_bytes(bytes(path.stat().st_size))
    fresh.rename(path)


def make_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def link_away(path: Path) -> None:
    path.unlink()
    path.symlink_to("/etc/passwd")


def make_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def forbid(path: Path) -> None:
    path.rename(path.with_suffix(".away"))


ACTIONS = [
    delete,
    truncate,
    empty,
    grow,
    overwrite,
    replace,
    make_folder,
    link_away,
    make_pipe,
    forbid,
]
CHANGED = [
    "is missing",
    "changed since",
    "is a folder",
    "leads out",
    "is a link",
    "not a regular",
    "socket or a device",
]


@pytest.mark.parametrize("action", ACTIONS, ids=lambda action: action.__name__)
@pytest.mark.parametrize("known", [True, False], ids=["known", "fresh"])
@pytest.mark.parametrize("size", [100, 200_000])
def test_a_file_changed_after_publishing(
    plane: Plane, action: Callable[[Path], None], known: bool, size: int
) -> None:
    """502, whether the worker has its descriptor and content already or not, and nothing is charged."""
    plane.expected += [text for text in CHANGED if text not in plane.expected]
    published = plane.publish(os.urandom(size))
    target = plane.link(published, maximum=2)
    if known:
        assert plane.get(target).status == 200
    action(published.path)
    time.sleep(0.01)
    for fields in ((), ("Range: bytes=5-9",)):
        answer = plane.get(target, *fields)
        assert (answer.status, answer.code) == (502, "storage_failed")
    assert plane.get(target, method="HEAD").status == 502
    wait_until(lambda: plane.charged(target) == (size if known else 0), "it was returned")


@pytest.mark.parametrize("known", [True, False], ids=["known", "fresh"])
@pytest.mark.parametrize("size", [100, 200_000])
def test_a_file_touched_after_publishing(plane: Plane, known: bool, size: int) -> None:
    """It has another time and the same bytes, so it is compared, served and charged (decision 0019)."""
    content = os.urandom(size)
    published = plane.publish(content)
    target = plane.link(published, maximum=3)
    if known:
        assert plane.get(target).body == content
    touch(published.path)
    time.sleep(0.01)
    answer = plane.get(target)
    assert (answer.status, answer.body, answer["ETag"]) == (200, content, published.etag)
    part = plane.get(target, "Range: bytes=5-9", f"If-Range: {published.etag}")
    assert (part.status, part.body) == (206, content[5:10])
    assert plane.get(target, method="HEAD").status == 200
    charged = (2 if known else 1) * size + 5
    wait_until(lambda: plane.charged(target) == charged, "what was sent is charged")


@pytest.mark.slow
@pytest.mark.parametrize("action", [delete, replace], ids=lambda action: action.__name__)
def test_a_path_that_moves_on_does_not_stop_a_download(plane: Plane, action: Callable[[Path], None]) -> None:
    """The open file is still the one published: the download goes on with its bytes."""
    content = os.urandom(LARGE)
    published = plane.publish(content)
    client, first = begin(plane, plane.link(published))
    action(published.path)
    assert first + client.read_bytes(LARGE - len(first)) == content
    client.socket.close()


@pytest.mark.slow
@pytest.mark.parametrize(
    "action", [truncate, empty, grow, touch, overwrite], ids=lambda action: action.__name__
)
def test_a_file_changed_within_a_transfer(plane: Plane, action: Callable[[Path], None]) -> None:
    """The connection breaks, so that nobody takes what came for the file; before the change it is right.

    sendfile hands the kernel the file's own pages. What is under way while someone writes into the file may
    show the new bytes; the break comes with the next slice, and drops what has not been sent.
    """
    plane.expected += ["changed while it was sent", "truncated while it was sent"]
    content = os.urandom(LARGE)
    published = plane.publish(content)
    target = plane.link(published, maximum=1)
    client, first = begin(plane, target, 3_000_000)
    action(published.path)
    got = first + client.read_until_closed()
    client.socket.close()
    assert len(got) < LARGE
    settled = max(len(first), len(got) - IN_FLIGHT)
    assert got[:settled] == content[:settled]
    if action in (touch, grow):
        assert got == content[: len(got)]
    wait_until(
        lambda: len(got) <= plane.charged(target) < len(got) + IN_FLIGHT,
        f"the rest was returned: {len(got)} received, {plane.charged(target)} charged",
        3,
    )

    def logged() -> list[bool]:
        return [entry["whole"] for entry in plane.entries() if entry.get("token") == identifier(target)]

    wait_until(lambda: logged() == [False], "it was logged")


def identifier(target: str) -> str:
    return token_id(target.partition("=")[2])


def test_a_storage_nobody_configured(plane: Plane) -> None:
    plane.expected.append("there is no storage")
    published = plane.publish(b"x")
    file = type(published.file)(**{**vars(published.file), "storage": "elsewhere"})
    manifest = type(published.manifest)("product", "1.0", (file,))
    plane.store.set(f"dg:manifest:{{{manifest.digest}}}", manifest.text)
    answer = plane.get(plane.link(Published(manifest, published.paths)))
    assert (answer.status, answer.code) == (502, "storage_failed")


@pytest.mark.parametrize("key", ["../store.sock", "/etc/passwd", "a/../../x", "", ".", "nul\0", "x" * 5000])
def test_keys_that_lead_elsewhere(plane: Plane, key: str) -> None:
    plane.expected += [
        text for text in (*CHANGED, "cannot be opened", "cannot be read") if text not in plane.expected
    ]
    published = plane.publish(b"x")
    file = type(published.file)(**{**vars(published.file), "key": key})
    manifest = type(published.manifest)("product", "1.0", (file,))
    plane.store.set(f"dg:manifest:{{{manifest.digest}}}", manifest.text)
    answer = plane.get(plane.link(Published(manifest, published.paths)))
    assert (answer.status, answer.code) == (502, "storage_failed")


def test_a_token_of_the_wrong_type(plane: Plane) -> None:
    """Someone wrote a string where a token's hash should be: the store's fault, no crash."""
    token = "ct_" + "w" * 43
    plane.store.set(token_key(token_id(token)), "not a hash")
    assert plane.get(f"/download?token={token}").status == 503


@pytest.mark.slow
def test_more_files_than_descriptors(make_plane: Callable[..., Plane]) -> None:
    """Descriptors are cached within their bound, and every file is the right one."""
    plane = make_plane(open_files=8)
    contents = [os.urandom(100_000) for _ in range(30)]
    targets = [plane.link(plane.publish(content)) for content in contents]
    folder = f"/proc/{plane.workers[0].process.pid}/fd"
    before = len(os.listdir(folder))
    for _ in range(2):
        for target, content in zip(targets, contents, strict=True):
            assert plane.get(target).body == content
        # the threads that opened files keep one or two for themselves
        wait_until(lambda: len(os.listdir(folder)) <= before + 8 + 2, "all but the cached ones were closed")
