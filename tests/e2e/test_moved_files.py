"""Files that are restored, moved, or reached through a link that is turned: commands and two real workers."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.support.console import Gateway, report
from tests.support.plane import Plane, run_plane

CONTENT = os.urandom(300_000)
OTHER = os.urandom(300_000)


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plane]:
    with run_plane(tmp_path_factory.mktemp("moved"), workers=2) as running:
        running.expected += ["is missing", "changed since it was published"]
        yield running


@pytest.fixture
def gateway(plane: Plane, tmp_path: Path) -> Gateway:
    """Commands that share store and data folder with the workers."""
    variables = {"GATEWAY_REDIS_URL": plane.redis_url, "GATEWAY_DATA": str(plane.settings.data)}
    return Gateway(tmp_path, variables)


def token(gateway: Gateway, product: str, *options: str) -> str:
    return str(gateway.json("token", "create", product, *options)["downloadToken"])


def folder(path: Path, content: bytes = CONTENT) -> Path:
    (path / "sub").mkdir(parents=True)
    (path / "film.mp4").write_bytes(content)
    (path / "sub" / "notes.txt").write_bytes(b"notes")
    return path


def statuses(plane: Plane, target: str, *fields: str) -> set[int]:
    """The statuses of several requests, each to some worker."""
    return {plane.get(target, *fields).status for _ in range(6)}


@pytest.mark.slow
def test_a_restored_folder_is_registered_again(plane: Plane, gateway: Gateway, tmp_path: Path) -> None:
    """It changes nothing, and no file is read again afterwards."""
    shop = folder(tmp_path / "shop")
    first = gateway.json("product", "add", "restored", "1", shop)
    for path in (shop / "film.mp4", shop / "sub" / "notes.txt"):
        os.utime(path, ns=(1, path.stat().st_mtime_ns // 10**9 * 10**9))
    again = gateway.json("product", "add", "restored", "1", shop, "--name", "Restored")
    assert (again["manifest"], again["name"]) == (first["manifest"], "Restored")
    link = f"/download/film.mp4?token={token(gateway, 'restored')}"
    assert plane.get(link).body == CONTENT
    logs = "".join(worker.errors.read_text() for worker in plane.workers)
    assert "film.mp4" not in logs
    (shop / "film.mp4").write_bytes(OTHER)
    assert "exists with other files" in gateway.fault("product", "add", "restored", "1", shop)


@pytest.mark.slow
def test_a_moved_folder_is_relocated(plane: Plane, gateway: Gateway, tmp_path: Path) -> None:
    old, new = folder(tmp_path / "old" / "drums"), tmp_path / "new" / "drums"
    gateway.run("product", "add", "drums", "1", old)
    sold = f"/download/film.mp4?token={token(gateway, 'drums', '--max-downloads', '100')}"
    before = plane.get(sold)
    assert (before.status, before.body) == (200, CONTENT)
    new.parent.mkdir()
    old.rename(new)
    assert statuses(plane, sold) == {502}
    assert "in another place" in gateway.fault("product", "add", "drums", "1", new)

    done = gateway.json("product", "relocate", "drums", "1", new)
    assert (done["compared"], done["moved"]) == (2, 2)
    for _ in range(3):
        assert statuses(plane, sold) == {200}
    part = plane.get(sold, "Range: bytes=100-", f"If-Range: {before['ETag']}")
    assert (part.status, part.body, part["Last-Modified"]) == (206, CONTENT[100:], before["Last-Modified"])
    assert plane.get(f"/download/sub/notes.txt?token={token(gateway, 'drums')}").body == b"notes"
    assert plane.charged(sold) % len(CONTENT) in (0, len(CONTENT) - 100)

    new.rename(old)
    assert statuses(plane, sold) == {502}
    output = gateway.run("product", "relocate", "drums", "1", old).stderr
    assert "2 files, 293.0 KiB, compared; 2 files moved." in output
    assert statuses(plane, sold) == {200}


@pytest.mark.slow
def test_what_is_not_the_same_is_not_relocated(plane: Plane, gateway: Gateway, tmp_path: Path) -> None:
    old = folder(tmp_path / "old")
    gateway.run("product", "add", "kept", "1", old)
    wrong = folder(tmp_path / "wrong", OTHER)
    assert "has other content" in gateway.fault("product", "relocate", "kept", "1", wrong)
    (wrong / "film.mp4").write_bytes(b"short")
    assert "has 5 bytes" in gateway.fault("product", "relocate", "kept", "1", wrong)
    (tmp_path / "stranger").write_bytes(b"x")
    assert "no file there has" in gateway.fault("product", "relocate", "kept", "1", tmp_path / "stranger")
    assert "no version 2" in gateway.fault("product", "relocate", "kept", "2", old)
    sold = f"/download/film.mp4?token={token(gateway, 'kept')}"
    assert plane.get(sold).body == CONTENT
    (wrong / "film.mp4").unlink()
    shutil.move(old / "sub" / "notes.txt", wrong / "sub" / "notes.txt")
    assert gateway.json("product", "relocate", "kept", "1", wrong)["moved"] == 1, "the other is in its place"
    assert plane.get(sold).body == CONTENT
    assert plane.get(sold.replace("film.mp4", "sub/notes.txt")).body == b"notes"
    shutil.rmtree(old)
    assert "not in its old place" in gateway.fault("product", "relocate", "kept", "1", wrong)


@pytest.mark.slow
@pytest.mark.parametrize("absolute", [False, True], ids=["relative link", "absolute link"])
@pytest.mark.parametrize("what", ["folder", "file"])
def test_a_link_that_is_turned_is_followed(
    plane: Plane, gateway: Gateway, tmp_path: Path, what: str, absolute: bool
) -> None:
    releases = tmp_path / "releases"
    for number, content in ((7, CONTENT), (8, CONTENT), (9, OTHER)):
        folder(releases / str(number), content)
    current = tmp_path / "current"

    def turn(number: int) -> None:
        current.unlink(missing_ok=True)
        current.symlink_to(releases / str(number) if absolute else f"releases/{number}")

    turn(7)
    product = f"linked-{what}-{absolute}"
    gateway.run("product", "add", product, "1", current if what == "folder" else current / "film.mp4")
    sold = f"/download/film.mp4?token={token(gateway, product)}"
    assert plane.get(sold).body == CONTENT
    found = report(gateway, code=None)  # files of other tests may be missing
    assert any("through a link" in each["text"] for each in found.values() if str(current) in each["text"])
    shutil.rmtree(releases / "7")
    turn(8)
    for _ in range(4):
        answer = plane.get(sold)
        assert (answer.status, answer.body) == (200, CONTENT)
    turn(9)
    assert statuses(plane, sold) == {502}
    turn(8)
    assert statuses(plane, sold, "Range: bytes=-5") == {206}


@pytest.mark.slow
def test_a_root_of_the_settings_that_is_a_link(gateway: Gateway, plane: Plane, tmp_path: Path) -> None:
    (tmp_path / "current").symlink_to("releases/7")
    folder(tmp_path / "releases" / "7")
    gateway.variables["GATEWAY_STORAGE__SHOP__ROOT"] = str(tmp_path / "current")
    for given in (tmp_path / "current", tmp_path / "releases" / "7"):
        added = gateway.json("product", "add", "by-root", "1", given)
        assert {(file["storage"], file["key"]) for file in added["files"]} == {
            ("shop", "film.mp4"),
            ("shop", "sub/notes.txt"),
        }
    text = report(gateway, code=None)["storage shop"]["text"]
    assert f"through a link: it leads to {tmp_path / 'releases' / '7'} now" in text


@pytest.mark.slow
def test_a_link_file_that_leads_out_is_published_where_it_leads(
    gateway: Gateway, plane: Plane, tmp_path: Path
) -> None:
    folder(tmp_path / "releases")
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "latest.mp4").symlink_to("../releases/film.mp4")
    added = gateway.json("product", "add", "leads-out", "1", tmp_path / "shop" / "latest.mp4")
    [warning] = added["warnings"]
    assert "a link that is turned elsewhere is not followed" in warning
    assert plane.get(f"/download/latest.mp4?token={token(gateway, 'leads-out')}").body == CONTENT


@pytest.mark.slow
def test_what_is_published_is_warned_of(gateway: Gateway, plane: Plane, tmp_path: Path) -> None:
    shop = tmp_path / "shop"
    shop.mkdir()
    decomposed = "Cafe\u0301.wav"
    for name in ("README", "readme", "a\\b.txt", decomposed):
        (shop / name).write_bytes(name.encode())
        os.utime(shop / name, ns=(0, 0))
    added = gateway.json("product", "add", "odd", "1", shop)
    assert [word for word in ("1970", "case only", "backslash") if word in "".join(added["warnings"])] == [
        "1970",
        "case only",
        "backslash",
    ]
    assert "Warning: 'README' and 'readme' differ" in gateway.run("product", "add", "odd", "1", shop).stderr
    assert "Café.wav" in [file["name"] for file in added["files"]]
    link = token(gateway, "odd")
    for name in ("Café.wav", decomposed):
        assert plane.get(f"/download/{quote(name)}?token={link}").body == decomposed.encode()
