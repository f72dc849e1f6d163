"""An access log that cannot be written: `check` finds it, and what serves says it in one line and ends."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.console import FREE, Fault, Gateway, report
from tests.support.processes import ROOT


@pytest.mark.parametrize(
    ("target", "fault"),
    [
        ("{folder}/none/access.log", "the folder {folder}/none does not exist"),
        ("{folder}/file/access.log", "{folder}/file is not a folder"),
        ("{folder}", "{folder} is a folder"),
        ("/dev/full", "the disk of /dev is full"),
    ],
)
def test_each_command_says_it_in_one_line(
    target: str, fault: str, gateway: Gateway, complain: Callable[..., Fault], tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    target, fault = target.format(folder=tmp_path), fault.format(folder=tmp_path)
    found = report(gateway, "--access-log", target, code=1)["access_log"]
    assert found["result"] == "fail"
    assert fault in found["text"]
    for command in ("serve", "up"):
        said = complain(command, *FREE, "--access-log", target)
        assert said.code == 1
        [line] = said.lines
        assert line.startswith(f"access_log: {fault}")


@pytest.mark.parametrize(
    "target", ["-", "off", "/dev/null", "{folder}/access.log", "{folder}/data/access.log"]
)
def test_what_can_be_written_passes(target: str, tmp_path: Path) -> None:
    """Also a file in the data folder that is not there yet: the embedded store makes it."""
    gateway = Gateway(tmp_path, {"GATEWAY_DATA": str(tmp_path / "data")})
    arguments = ("check", *FREE, "--quick", "--access-log", target.format(folder=tmp_path))
    found = {each["check"]: each["result"] for each in gateway.json(*arguments)}
    assert found["access_log"] == "ok"


DISKS = """
mount -t tmpfs -o size=4k none full && echo some > full/file
mount -t tmpfs none read-only && touch read-only/file && mount -o remount,ro read-only
"$0" -c 'import sys, pathlib, gateway.runtime.log_file as f
for each in sys.argv[1:]: print(f.find_fault(pathlib.Path(each)))' $PWD/full/access.log $PWD/full/file \
  $PWD/read-only/access.log $PWD/read-only/file
"$0" -m gateway serve --access-log full/access.log --redis-url unix:///nowhere 2>&1
echo "exit code $?"
"""


@pytest.mark.slow
def test_full_and_read_only_disks(tmp_path: Path) -> None:
    """In a name space of its own, in which these disks are mounted."""
    (tmp_path / "full").mkdir()
    (tmp_path / "read-only").mkdir()
    done = subprocess.run(
        ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", DISKS, sys.executable],
        cwd=tmp_path,
        env={"PATH": "/usr/bin:/bin:/usr/sbin:/sbin", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    if "exit code" not in done.stdout:
        pytest.skip("the kernel allows no name spaces of one's own")
    full = f"the disk of {tmp_path}/full is full: make room, or name a file on another disk"
    assert done.stdout.splitlines() == [
        full,
        full,
        f"no file can be made in {tmp_path}/read-only: "
        "let this user write to the folder, or name another file",
        f"{tmp_path}/read-only/file cannot be written: let this user write to it, or name another file",
        f"download-gateway: access_log: {full}",
        "exit code 1",
    ]
