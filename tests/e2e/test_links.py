"""Links as real programs use them: names that are saved, fresh links, passwords, folders."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.plane import Plane
from tests.support.programs import need
from tests.support.publications import Published
from tests.support.waiting import wait_until

CONTENT = os.urandom(300_000)
FILES = {
    "a.wav": b"a" * 1000,
    "read me.txt": b"hello",
    "sub/b & c.flac": b"b" * 2000,
    "sub/deep/ü.txt": b"deep",
}


class Customer:
    """Runs programs in a folder that is also their home."""

    def __init__(self, plane: Plane, folder: Path) -> None:
        self.plane = plane
        self.folder = folder
        self.base = "http://{}:{}".format(*plane.address)
        self.one = plane.publish(CONTENT, names=["kit 1.zip"])
        self.several = plane.publish(*FILES.values(), names=list(FILES))

    def fresh(self) -> str:
        """A fresh link to the only file."""
        return f"{self.base}/download/{self.plane.token(self.one)}/kit%201.zip"

    def run(self, *command: str, published: Published | None = None) -> None:
        """Run a command. {base}, {token}: the address, and a fresh token."""
        token = self.plane.token(published or self.several)
        words = [word.format(base=self.base, host=self.base[7:], token=token) for word in command]
        done = subprocess.run(
            [need(words[0]), *words[1:]],
            cwd=self.folder,
            env={**os.environ, "HOME": str(self.folder), "RCLONE_CONFIG": "/dev/null"},
            capture_output=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr.decode()

    def got(self) -> dict[str, bytes]:
        """What lies in the folder, without indexes and what programs keep for themselves."""
        return {
            str(path.relative_to(self.folder)): path.read_bytes()
            for path in sorted(self.folder.rglob("*"))
            if path.is_file() and path.name not in ("index.html", "download") and path.name[0] != "."
            if ".local" not in path.parts and ".cache" not in path.parts
        }


@pytest.fixture
def customer(make_plane: Callable[..., Plane], tmp_path: Path) -> Customer:
    folder = tmp_path / "customer"
    folder.mkdir()
    return Customer(make_plane(), folder)


@pytest.mark.parametrize(
    "command",
    [
        ("curl", "-sSfO"),
        ("curl", "-sSfOJ"),
        ("wget", "-q"),
        ("wget", "-q", "--content-disposition"),
        ("wget2", "-q", "--no-ocsp"),
        ("aria2c", "-q"),
    ],
    ids=" ".join,
)
def test_every_program_saves_the_file_under_its_name(customer: Customer, command: tuple[str, ...]) -> None:
    customer.run(*command, customer.fresh())
    [(name, content)] = customer.got().items()
    assert (name.replace("%20", " "), content) == ("kit 1.zip", CONTENT)


@pytest.mark.parametrize(
    "command",
    [
        ("wget", "-q", "-c"),
        ("curl", "-sSfOC", "-"),
        ("wget2", "-q", "--no-ocsp", "-c"),
    ],
    ids=" ".join,
)
def test_a_fresh_link_continues_an_old_file(customer: Customer, command: tuple[str, ...]) -> None:
    name = "kit%201.zip" if command[0] == "curl" else "kit 1.zip"
    (customer.folder / name).write_bytes(CONTENT[:100_000])
    customer.run(*command, customer.fresh())
    assert customer.got() == {name: CONTENT}
    wait_until(lambda: '"sent": 200000' in customer.plane.log.read_text(), "only the rest is sent")


NETRC = "echo machine 127.0.0.1 login any password {token} > .netrc"
PASSWORD = [
    ("curl", "-sSfO", "-u", "any:{token}", "{base}/download/a.wav"),
    ("curl", "-sSfO", "http://any:{token}@{host}/download/a.wav"),
    ("curl", "-sSfO", "--anyauth", "-u", "any:{token}", "{base}/download/a.wav"),
    ("wget", "-q", "--user=any", "--password={token}", "{base}/download/a.wav"),
    (
        *("wget2", "-q", "--no-ocsp", "--auth-no-challenge"),
        *("--http-user=any", "--http-password={token}", "{base}/download/a.wav"),
    ),
    ("aria2c", "-q", "--http-user=any", "--http-passwd={token}", "{base}/download/a.wav"),
    ("sh", "-c", f"{NETRC}; curl -nsSfO {{base}}/download/a.wav"),
    ("sh", "-c", f"{NETRC}; wget -q {{base}}/download/a.wav"),
    (
        "sh", "-c",
        "echo machine {base}/download login any password {token} > .auth; /usr/lib/apt/apt-helper -o "
        "Dir::Etc::netrc=$PWD/.auth -o Dir::Etc::netrcparts=/none download-file {base}/download/a.wav a.wav",
    ),
]  # fmt: skip


@pytest.mark.parametrize("command", PASSWORD, ids=lambda command: " ".join(command)[:60])
def test_the_token_as_a_password(customer: Customer, command: tuple[str, ...]) -> None:
    if "apt-helper" in command[-1] and not Path("/usr/lib/apt/apt-helper").exists():
        pytest.skip("apt is not installed")
    customer.run(*command)
    assert customer.got() == {"a.wav": FILES["a.wav"]}


FOLDERS = [
    ("wget", "-q", "-r", "-np", "-nH", "--cut-dirs=2", "{base}/download/{token}/"),
    (
        "wget",
        "-q",
        "-r",
        "-np",
        "-nH",
        "--cut-dirs=1",
        "--user=any",
        "--password={token}",
        "{base}/download/",
    ),
    ("wget", "-q", "-r", "-nH", "--cut-dirs=1", "--user=any", "--password={token}", "{base}/download"),
    ("rclone", "copy", ":http:", ".", "--http-url", "{base}/download/{token}/"),
    ("rclone", "copy", ":http:", ".", "--http-url", "http://any:{token}@{host}/download/"),
    ("lftp", "-e", "mirror . .; exit", "{base}/download/{token}/"),
    ("lftp", "-u", "any,{token}", "-e", "mirror . .; exit", "{base}/download/"),
]


@pytest.mark.parametrize("command", FOLDERS, ids=lambda command: f"{command[0]} {command[-1]}")
def test_programs_for_folders_find_every_file(customer: Customer, command: tuple[str, ...]) -> None:
    customer.run(*command)
    assert customer.got() == FILES
