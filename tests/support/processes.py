"""Processes of the gateway that tests start and watch."""

from __future__ import annotations

import atexit
import gc
import os
import sys
import threading
from pathlib import Path
from typing import NoReturn

ROOT = Path(__file__).parents[2]


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def end_quickly(code: int) -> NoReturn:
    """End a process that was forked, as `sys.exit(code)` does, but leave the memory to the kernel.

    Python would take all modules apart, and for that copy most of the memory shared with the process that
    has imported them: 0.1 s. What the process itself has left behind is still collected, so that faults of
    its end are told.
    """
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    gc.collect()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
