"""What options of the commands may be. A wrong one is refused before anything is measured."""

from __future__ import annotations

import os
from argparse import ArgumentTypeError
from pathlib import Path

MAX_SECONDS = 600.0
MAX_RATE = 100_000.0


def count(text: str) -> int:
    """A whole number from 1 on."""
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise ArgumentTypeError("must be a whole number of at least 1")
    return value


def seconds(text: str) -> float:
    """How long to load."""
    value = _number(text)
    if not 1 <= value <= MAX_SECONDS:
        raise ArgumentTypeError(f"must be from 1 to {MAX_SECONDS:g}")
    return value


def rate(text: str) -> float:
    """How often a second."""
    value = _number(text)
    if not 0 < value <= MAX_RATE:
        raise ArgumentTypeError(f"must be more than 0 and at most {MAX_RATE:g}")
    return value


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0


def folder(text: str) -> Path:
    """A folder that is there, and can be written to."""
    path = Path(text)
    if not path.is_dir():
        raise ArgumentTypeError(f"{path} is not a folder: make it first")
    if not os.access(path, os.W_OK | os.X_OK):
        raise ArgumentTypeError(f"{path} cannot be written to")
    return path


def result_file(text: str) -> Path:
    """A file to write to after measuring."""
    path = Path(text)
    if path.is_dir():
        raise ArgumentTypeError(f"{path} is a folder: name a file in it")
    folder(str(path.parent))
    if path.exists() and not os.access(path, os.W_OK):
        raise ArgumentTypeError(f"{path} cannot be written to")
    return path
