"""The command lines on the page of an index, run as a customer would run them."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from html import unescape
from pathlib import Path

import pytest

from tests.support.plane import Plane
from tests.support.programs import need

FILES = {"a.wav": b"a" * 1000, "b-2.txt": b"hello"}
DEEP = {"read me.txt": b"hello", "sub/b & c.flac": b"b" * 2000, "sub/deep/ü.txt": b"deep", "Крах.zip": b"K"}


@pytest.mark.parametrize(
    ("program", "files"), [("wget", FILES | DEEP), ("curl", FILES)], ids=["wget", "curl"]
)
def test_a_line_of_the_page_fetches_all_files(
    make_plane: Callable[..., Plane], tmp_path: Path, program: str, files: dict[str, bytes]
) -> None:
    need(program)
    plane = make_plane()
    published = plane.publish(*files.values(), names=list(files))
    page = plane.get(f"/download/{plane.token(published, 1)}/", "Accept: text/html").body.decode()
    commands = [unescape(found) for found in re.findall(r"<pre[^>]*><code>(.*?)</code></pre>", page)]
    [command] = [each for each in commands if each.startswith(program)]
    assert "/download/ct_" in command
    folder = tmp_path / "customer"
    folder.mkdir()
    local = re.sub(
        r"http://[^/]+", "http://{}:{}".format(*plane.address), command
    )  # `listen` has no port yet
    subprocess.run(local, shell=True, cwd=folder, check=True, capture_output=True, timeout=60)
    got = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert got == files
