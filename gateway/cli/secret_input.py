"""Secrets on their way into a command: from a file, from standard input, or typed without being shown.

Never from an argument: every user of the machine can read those of all processes.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

import typer

from gateway.cli.options import fail

STDIN: Final = "-"
MAX_BYTES: Final = 16 * 1024
"""Of a file with secrets. It has a few lines."""


def read_lines(flag: str, file: str) -> list[str]:
    """Read the lines of a file that are not empty, or of standard input for `-`."""
    content = sys.stdin.buffer.read(MAX_BYTES + 1) if file == STDIN else _read(file)
    if len(content) > MAX_BYTES:
        raise fail(f"{flag}: {file} has more than {MAX_BYTES} bytes: it must have the secret alone")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise fail(f"{flag}: {file} is no text") from None
    lines = [line.strip() for line in text.splitlines()]
    found = [line for line in lines if line]
    if not found:
        raise fail(f"{flag}: {file} is empty")
    return found


def read_one(flag: str, file: str) -> str:
    """Read a file that has one line."""
    lines = read_lines(flag, file)
    if len(lines) > 1:
        raise fail(f"{flag}: {file} has several lines: it must have the key alone")
    return lines[0]


def ask(question: str) -> str | None:
    """Ask the person at the terminal for a secret. None where nothing is typed, or nobody can be asked."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return None
    text: str = typer.prompt(question, default="", hide_input=True, show_default=False, err=True)
    return text.strip() or None


def _read(file: str) -> bytes:
    with Path(file).open("rb") as opened:
        return opened.read(MAX_BYTES + 1)
