"""Programs of the machine that end-to-end tests speak through."""

from __future__ import annotations

import os
import shutil

import pytest


def need(program: str) -> str:
    """The program's path; without it the test is skipped, and in CI it fails."""
    path = shutil.which(program) or shutil.which(program, path="/usr/sbin:/sbin")
    if path is None:
        reason = f"{program} is not installed (apt-get install {PACKAGES.get(program, program)})"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return path


PACKAGES = {"aria2c": "aria2"}
