"""No file outside the folder is ever opened, whichever way of opening is used."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.errors import StorageError
from gateway.storage.local.confinement import Opener, parts_of
from gateway.storage.local.descriptors import DescriptorCache
from gateway.storage.local.storage import LocalStorage
from tests.support.examples import examples
from tests.support.local_files import OPENERS, count_descriptors

pytestmark = pytest.mark.usefixtures("no_leak")


@pytest.mark.parametrize(
    "key",
    [
        "",
        "/",
        "/etc/passwd",
        "..",
        "../secret",
        "sub/../../secret",
        "sub/../sub/file",
        "./sub/file",
        "sub/./file",
        "sub//file",
        "sub/file/",
        "sub/",
        ".",
        "sub/file\0",
        "\0",
        "\ud800",
    ],
)
def test_key_is_no_plain_path(storage: LocalStorage, key: str) -> None:
    with pytest.raises(ValueError, match="the key"):
        parts_of(key)
    with pytest.raises(StorageError, match="cannot be opened: the key"):
        storage.stat(key)


@pytest.mark.parametrize("key", ["missing", "sub/missing", "sub/file/below", "x" * 300, "x/" * 3000 + "x"])
def test_missing(storage: LocalStorage, key: str) -> None:
    with pytest.raises(StorageError) as raised:
        storage.stat(key)
    assert "\n" not in str(raised.value)


def test_folder_is_no_file(storage: LocalStorage) -> None:
    with pytest.raises(StorageError, match="not a regular file"):
        storage.stat("sub")


def test_fifo_does_not_hang(storage: LocalStorage, root: Path) -> None:
    os.mkfifo(root / "fifo")
    with pytest.raises(StorageError, match="not a regular file"):
        storage.stat("fifo")


def test_socket(storage: LocalStorage, root: Path) -> None:
    import socket  # noqa: PLC0415

    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(root / "socket"))
        with pytest.raises(StorageError, match="a socket or a device"):
            storage.stat("socket")


@pytest.mark.parametrize("device", ["null", "zero", "tty"])
def test_device(opener: Opener, cache: DescriptorCache, device: str) -> None:
    with pytest.raises(StorageError):
        LocalStorage("devices", Path("/dev"), cache, opener=opener).stat(device)


@pytest.mark.parametrize(
    ("link", "target", "key"),
    [
        ("out", "../secret", "out"),
        ("sub/out", "../../secret", "sub/out"),
        ("folder", "..", "folder/secret"),
        ("absolute", "/etc/passwd", "absolute"),
        ("etc", "/etc", "etc/passwd"),
        ("loop", "loop", "loop"),
        ("loop", "loop", "loop/file"),
        ("self", "/proc/self/root", "self/etc/passwd"),
        ("broken", "nowhere", "broken"),
    ],
)
def test_link_out_or_nowhere(storage: LocalStorage, root: Path, link: str, target: str, key: str) -> None:
    (root / link).symlink_to(target)
    with pytest.raises(StorageError):
        storage.stat(key)


def test_link_through_a_descriptor(opener: Opener, cache: DescriptorCache, root: Path) -> None:
    """The links of /proc are no paths: following one leads anywhere."""
    with open(root.parent / "secret", "rb") as secret, pytest.raises(StorageError):
        LocalStorage("fds", Path("/proc/self/fd"), cache, opener=opener).stat(str(secret.fileno()))


@pytest.mark.parametrize(
    ("link", "target", "key"),
    [("file", "sub/file", "file"), ("sub/up", "../sub/file", "sub/up"), ("s", "sub", "s/file")],
)
def test_link_inside(
    storage: LocalStorage, root: Path, opener: Opener, link: str, target: str, key: str
) -> None:
    """The kernel's way follows it; the other follows none and says so."""
    (root / link).symlink_to(target)
    if opener.__name__ == "open_by_kernel":
        assert storage.stat(key).size == 10
    else:
        with pytest.raises(StorageError, match="link"):
            storage.stat(key)


def test_root_may_be_a_link_and_be_renamed(opener: Opener, cache: DescriptorCache, root: Path) -> None:
    alias = root.parent / "alias"
    alias.symlink_to(root)
    storage = LocalStorage("files", alias, cache, opener=opener)
    storage.stat("sub/file")
    root.rename(root.parent / "moved")
    with pytest.raises(StorageError, match="missing"):
        storage.stat("sub/file")
    with pytest.raises(StorageError, match="the root"):
        storage.check_root()
    (root.parent / "moved").rename(root)
    storage.stat("sub/file")
    storage.check_root()


@pytest.mark.parametrize(
    "name",
    [
        "Große Trommel.wav",
        "鼓.wav",
        'a"b;c.zip',
        "a\nb\r.zip",
        "\\..\\secret",
        " ",
        "~",
        "-rf",
        "%2e%2e",
        "😀" * 60,
    ],
)
def test_any_name(storage: LocalStorage, root: Path, name: str) -> None:
    (root / name).write_bytes(b"x")
    assert storage.stat(name).size == 1
    (root / name).unlink()
    with pytest.raises(StorageError) as raised:
        storage.stat(name)
    assert "\n" not in str(raised.value)


@pytest.fixture
def swapping(root: Path) -> Iterator[None]:
    """`root/swap` is now a folder with a harmless file, now a link to the folder of the secret."""
    (root / "swap").mkdir()
    (root / "swap" / "secret").write_bytes(b"harmless!")
    stop = threading.Event()

    def swap() -> None:
        while not stop.is_set():
            (root / "swap").rename(root / "aside")
            (root / "swap").symlink_to("..")
            (root / "swap").unlink()
            (root / "aside").rename(root / "swap")

    thread = threading.Thread(target=swap)
    thread.start()
    yield
    stop.set()
    thread.join()


@pytest.mark.usefixtures("swapping")
def test_race_never_leads_out(storage: LocalStorage) -> None:
    sizes = []
    for _ in range(100_000):  # however busy the machine is: many tries that met the folder, and none the link
        with suppress(StorageError):
            sizes.append(storage.stat("swap/secret").size)
        if len(sizes) == 1000:
            break
    assert set(sizes) == {len(b"harmless!")}


@given(
    parts=st.lists(
        st.sampled_from(["..", ".", "", "sub", "file", "out", "loop", "up", "abs", "\0", "secret"])
        | st.text(max_size=8),
        max_size=6,
    )
)
@settings(max_examples=examples(150), deadline=None)
def test_no_key_leaves_the_root(parts: list[str]) -> None:
    root = _trapped_root()
    for opener in OPENERS:
        storage = LocalStorage("files", root, DescriptorCache(1), opener=opener)
        with suppress(StorageError):
            fd, facts = storage.open_descriptor("/".join(parts))
            path = os.readlink(f"/proc/self/fd/{fd}")
            os.close(fd)
            assert facts.st_size == 10
            assert path == str(root / "sub" / "file")


_trapped: list[Path] = []


def _trapped_root() -> Path:
    """A root full of links out, made once."""
    if not _trapped:
        folder = tempfile.TemporaryDirectory(prefix="dg-root-")
        top = Path(folder.name).resolve()
        _keep.append(folder)
        (top / "secret").write_bytes(b"secret")
        root = top / "root"
        (root / "sub").mkdir(parents=True)
        (root / "sub" / "file").write_bytes(b"0123456789")
        for link, target in (
            ("out", "../secret"),
            ("loop", "loop"),
            ("sub/up", "../.."),
            ("abs", "/etc/passwd"),
        ):
            (root / link).symlink_to(target)
        _trapped.append(root)
    return _trapped[0]


_keep: list[tempfile.TemporaryDirectory[str]] = []

FORBID = """
import ctypes, struct, sys
code = int(sys.argv[1])
rules = [(0x20, 0, 0, 0), (0x15, 0, 1, 437), (0x06, 0, 0, 0x00050000 | code), (0x06, 0, 0, 0x7FFF0000)]
program = b"".join(struct.pack("HBBI", *rule) for rule in rules)
text = ctypes.create_string_buffer(program)
filter = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(rules), ctypes.addressof(text)))
libc = ctypes.CDLL(None, use_errno=True)
assert libc.prctl(38, 1, 0, 0, 0) == 0
assert libc.prctl(22, 2, filter, 0, 0) == 0, ctypes.get_errno()
from gateway.storage.local.confinement import best_opener
print(best_opener().__name__)
"""


@pytest.mark.parametrize("code", [1, 38], ids=["EPERM", "ENOSYS"])
def test_falls_back_when_the_call_is_forbidden(code: int) -> None:
    """As in a container whose seccomp profile does not know openat2, or on an older kernel."""
    ran = subprocess.run(
        [sys.executable, "-c", FORBID, str(code)], capture_output=True, text=True, check=True
    )
    assert ran.stdout == "open_by_parts\n"


def test_permissions(somebody: Callable[[], AbstractContextManager[None]], opener: Opener) -> None:
    """A file that this user may not read is an error of the storage, reported in one line."""
    folder = Path(tempfile.mkdtemp(prefix="dg-private-"))
    try:
        folder.chmod(0o755)
        (folder / "file").write_bytes(b"x")
        (folder / "file").chmod(0)
        (folder / "closed").mkdir()
        (folder / "closed").chmod(0)
        private = LocalStorage("private", folder, DescriptorCache(1), opener=opener)
        closed = LocalStorage("closed", folder / "closed", DescriptorCache(1))
        with somebody():
            for key in ("file", "closed/file"):
                with pytest.raises(StorageError, match="may not be read"):
                    private.stat(key)
            with pytest.raises(StorageError, match="cannot enter the root"):
                closed.check_root()
            private.check_root()
    finally:
        (folder / "closed").rmdir()
        (folder / "file").unlink()
        folder.rmdir()


def test_descriptors_are_closed_on_exec(storage: LocalStorage, root: Path) -> None:
    fd, _ = storage.open_descriptor("sub/file")
    assert not os.get_inheritable(fd)
    assert os.get_blocking(fd)
    before = count_descriptors(root)
    os.close(fd)
    assert count_descriptors(root) == before - 1
