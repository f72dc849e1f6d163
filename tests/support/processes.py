"""Processes of the gateway that tests start and watch."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[2]


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
