"""Ends a child process when its parent ends, so that no process is left when the parent is killed with -9.

Linux sends the chosen signal when the *thread* ends that started the child (prctl(2), PR_SET_PDEATHSIG), so
children must be started from the main thread. If the parent has ended before the call, the child has another
parent by then.
"""

from __future__ import annotations

import ctypes
import os
import signal
from typing import Final

PR_SET_PDEATHSIG: Final = 1

# Loaded at import, because nothing may be imported between fork and exec.
_libc = ctypes.CDLL(None, use_errno=True)


def die_with_parent(signum: signal.Signals, parent: int) -> None:
    """Let the kernel send `signum` to this process when its parent ends, or send it now if that has happened.

    This stays in force through exec, but not through fork. Raises OSError when the kernel refuses.
    """
    if _libc.prctl(PR_SET_PDEATHSIG, int(signum), 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
    if os.getppid() != parent:
        os.kill(os.getpid(), signum)
