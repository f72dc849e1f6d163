"""Ties a child process to its parent, so that nothing is left behind when the parent is killed with -9.

Linux sends the chosen signal when the *thread* that started the child ends (prctl(2), PR_SET_PDEATHSIG):
start children from the main thread. A parent that died before the call is noticed by the change of parent.
"""

from __future__ import annotations

import ctypes
import os
import signal
from typing import Final

PR_SET_PDEATHSIG: Final = 1

_libc = ctypes.CDLL(None, use_errno=True)  # loaded here: nothing may be imported between fork and exec


def die_with_parent(signum: signal.Signals, parent: int) -> None:
    """Have the kernel send `signum` to this process when its parent dies; at once if it has died already.

    Raises OSError when the kernel refuses. Lasts through exec, not through fork.
    """
    if _libc.prctl(PR_SET_PDEATHSIG, int(signum), 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
    if os.getppid() != parent:
        os.kill(os.getpid(), signum)
