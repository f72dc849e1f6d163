"""What tests need of the machine: programs that they run, and abilities of its kernel."""

from __future__ import annotations

import os
import shutil
import socket
from typing import NoReturn

import pytest

PACKAGES = {"aria2c": "aria2", "promtool": "prometheus", "varnishd": "varnish"}


def need(program: str) -> str:
    """The program's path; without it the test is skipped, and in CI it fails."""
    path = shutil.which(program) or shutil.which(program, path="/usr/sbin:/sbin")
    if path is None:
        refuse(f"{program} is not installed (apt-get install {PACKAGES.get(program, program)})")
    return path


def refuse(reason: str) -> NoReturn:
    """Skip the test because something is not installed. In CI, which installs everything, fail instead."""
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


def need_ipv6() -> None:
    """Skip the test where the kernel has no IPv6, also in CI: nobody can install that."""
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError as error:
        pytest.skip(f"this machine has no IPv6: {error.strerror}")
