"""Links that are handed out: what they are made of, and that they are read as they were meant."""

from __future__ import annotations

from urllib.parse import urljoin

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.http.links import download_path, quote_name, relative_base
from gateway.http.targets import Target, TargetKind, read_target
from gateway.manifest import composed
from tests.support.rows import each_row

TOKEN = "ct_" + "a" * 43  # the same in every process: names of tests have it


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("", f"/download/{TOKEN}/"),
        ("kit.zip", f"/download/{TOKEN}/kit.zip"),
        ("kits/rock 1/ü?#&%.wav", f"/download/{TOKEN}/kits/rock%201/%C3%BC%3F%23%26%25.wav"),
        ("e\u0301", f"/download/{TOKEN}/%C3%A9"),
        ("a:b", f"/download/{TOKEN}/a%3Ab"),
        ("(1)", f"/download/{TOKEN}/%281%29"),
    ],
)
def test_the_path_of_a_link(name: str, path: str) -> None:
    assert download_path(TOKEN, name) == path


def is_name(name: str) -> bool:
    return bool(name.strip("/")) and {".", ".."}.isdisjoint(name.split("/"))


@given(st.text(st.characters(codec="utf-8"), min_size=1).filter(is_name))
def test_a_link_names_what_it_was_made_for(name: str) -> None:
    expected = Target(TargetKind.DOWNLOAD, composed(name), TOKEN)
    assert read_target(download_path(TOKEN, name)) == expected


@each_row(
    ("target", "folder"),
    [
        ("/download", ""),
        ("/download/", ""),
        ("/%64ownload", ""),
        ("/x//download", ""),
        ("http://h/download?x", ""),
        ("/download/a%20b", "a b/"),
        ("/download/a%20b/?x", "a b/"),
        ("/download/a/b:c", "a/b:c/"),
        ("/download/a/b:c).", "a/b:c/"),
        ("/download/a/b:c//", "a/b:c/"),
    ],
)
def test_a_relative_link_leads_to_the_file(target: str, folder: str) -> None:
    link = relative_base(target, folder) + quote_name("ü 1.zip")
    path = urljoin(urljoin("http://h/", target), link).removeprefix("http://h").replace("/x/", "/")
    assert (read_target(path).file or "").replace("//", "/") == f"{folder}ü 1.zip"
