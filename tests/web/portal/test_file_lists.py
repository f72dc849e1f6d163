"""Lists of files for programs: names that would break a line, an option or an element do not."""

from __future__ import annotations

import subprocess
from pathlib import Path
from urllib.parse import quote
from xml.etree import ElementTree as Xml

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.manifest import Manifest, ManifestFile
from gateway.web.portal.file_lists import aria2_input, list_name, local_path, metalink, sha256sums
from tests.support.portal import ODD_NAMES, made_file

NAMES = ("Kick.wav", "Loops/A & B.wav", *ODD_NAMES)
SPACE = {"": "urn:ietf:params:xml:ns:metalink"}


def made(*names: str) -> Manifest:
    return Manifest("kit", "1.0", tuple(made_file(name, number) for number, name in enumerate(names)))


def address(name: str) -> str:
    return f"https://shop.example/download/ct_x/{quote(name.encode('utf-8', 'surrogateescape'))}"


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("a.wav", "{}  a.wav"),
        ("folder/a b.wav", "{}  folder/a b.wav"),
        ("/etc/passwd", "{}  etc/passwd"),
        ("a\\b", "\\{}  a\\\\b"),
        ("a\nb", "\\{}  a\\nb"),
        ("a\rb", "\\{}  a\\rb"),
        ("-rf", "{}  -rf"),
    ],
)
def test_sums_are_those_of_sha256sum(name: str, line: str) -> None:
    manifest = made(name)
    assert sha256sums(manifest) == line.format(manifest.files[0].sha256) + "\n"


def test_sha256sum_itself_reads_the_sums(tmp_path: Path) -> None:
    import hashlib  # noqa: PLC0415

    names = ("a.wav", "b c.wav", "d\\e.wav", "f\ng.wav")
    files = []
    for name in names:
        (tmp_path / name).write_bytes(name.encode())
        digest = hashlib.sha256(name.encode()).hexdigest()
        files.append(ManifestFile(name, 1, "audio/wav", digest, "0" * 8, "main", name, 0))
    (tmp_path / "SHA256SUMS").write_text(sha256sums(Manifest("kit", "1.0", tuple(files))))
    checked = subprocess.run(
        ["sha256sum", "--check", "--strict", "SHA256SUMS"],
        cwd=tmp_path,
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert checked.returncode == 0, checked.stderr


def test_a_list_for_aria2_has_four_lines_a_file() -> None:
    manifest = made(*NAMES)
    lines = aria2_input(manifest, address).splitlines()
    assert len(lines) == 4 * len(NAMES)
    for number, file in enumerate(manifest.files):
        url, out, checksum, go_on = lines[4 * number : 4 * number + 4]
        assert url == address(file.name)
        assert out == f"  out={local_path(file.name)}"
        assert checksum == f"  checksum=sha-256={file.sha256}"
        assert go_on == "  continue=true"


def test_a_metalink_has_size_digest_and_url_of_every_file() -> None:
    manifest = made(*NAMES)
    root = Xml.fromstring(metalink(manifest, address))
    assert root.tag == "{urn:ietf:params:xml:ns:metalink}metalink"
    found = root.findall("file", SPACE)
    assert len(found) == len(NAMES)
    for element, file in zip(found, manifest.files, strict=True):
        assert element.get("name") == local_path(file.name)
        assert element.findtext("size", "", SPACE) == str(file.size)
        digest = element.find("hash", SPACE)
        assert digest is not None
        assert (digest.get("type"), digest.text) == ("sha-256", file.sha256)
        assert element.findtext("url", "", SPACE) == address(file.name)


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("a.wav", "a.wav"),
        ("/a.wav", "a.wav"),
        ("x//y/a.wav", "x/y/a.wav"),
        ("x\\..\\a.wav", "x_.._a.wav"),
        ("x\ny/a.wav", "x_y/a.wav"),
        ("\u202egnp.exe", "gnp.exe"),
        (".bashrc", "bashrc"),
    ],
)
def test_a_path_stays_in_the_folder(name: str, path: str) -> None:
    assert local_path(name) == path


@given(st.text(min_size=1, max_size=60).filter(lambda name: not {".", ".."} & set(name.split("/"))))
def test_no_name_breaks_a_list(name: str) -> None:
    manifest = made(name)
    path = local_path(name)
    assert path
    assert not path.startswith("/")
    assert ".." not in path.split("/")
    assert len(aria2_input(manifest, address).splitlines()) == 4
    assert sha256sums(manifest).count("\n") == 1
    assert len(Xml.fromstring(metalink(manifest, address)).findall("file", SPACE)) == 1


def test_a_list_is_saved_under_the_product_and_version() -> None:
    assert list_name(made("a"), ".meta4") == "kit-1.0.meta4"
