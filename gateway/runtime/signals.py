"""What each signal means to the processes of the gateway.

                      supervisor, and a command before     child
    SIGTERM           end in good order                    finish what is under way, and end
    SIGINT, SIGQUIT   the same                             ignored: a terminal sends them to all of its
    SIGHUP            read the settings again                 processes, and the supervisor decides
    SIGUSR1           open log files again, in all         open log files again
    SIGXCPU           end in good order                    ends; the supervisor logs it and starts another
    STRAY             ignored                              ignored

By default each of these ends a process without a word (SIGTTIN and SIGTTOU stop it). Nobody sends those in
STRAY to end a server: they come from a script that was written for another server, or from a timer that a
wrapper left. All others keep what they do by default: the signals of faults (SIGSEGV, …), job control
(SIGTSTP, SIGSTOP, SIGCONT), and those that do nothing (SIGURG, SIGWINCH, …). Python ignores SIGXFSZ.

What is ignored stays ignored in programs that a process starts; what is handled does not. So a child that has
just been started would die of a signal, until it has said what it wants. Therefore these signals are blocked
when it is started, and wait until it calls `unblock`.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterable, Iterator
from typing import Final

STRAY: Final = (
    signal.SIGUSR2,
    signal.SIGALRM,
    signal.SIGVTALRM,
    signal.SIGPROF,
    signal.SIGPIPE,
    signal.SIGIO,
    signal.SIGPWR,
    signal.SIGSTKFLT,
    signal.SIGTTIN,
    signal.SIGTTOU,
    *range(signal.SIGRTMIN, signal.SIGRTMAX + 1),
)
"""Signals that have no meaning here."""

REOPEN: Final = signal.SIGUSR1
"""Asks to open log files again, as nginx understands it and logrotate's examples send it."""

OF_TERMINALS: Final = (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP)
"""Signals that a terminal sends to each of its processes."""

_HELD: Final = (REOPEN, *OF_TERMINALS)
"""Signals that wait until a new child knows what they mean. SIGTERM ends it at once, as it should."""


def ignore(*signums: int) -> None:
    """Ignore these signals from now on, also in programs that this process starts. For the main thread."""
    for signum in signums:
        signal.signal(signum, signal.SIG_IGN)


@contextlib.contextmanager
def ignoring(signums: Iterable[int]) -> Iterator[None]:
    """Ignore these signals for a while."""
    former = {signum: signal.signal(signum, signal.SIG_IGN) for signum in signums}
    try:
        yield
    finally:
        for signum, handler in former.items():
            if handler is not None:  # None was not set by Python, and cannot be set back
                signal.signal(signum, handler)


@contextlib.contextmanager
def held() -> Iterator[None]:
    """Start children here: signals that they do not know yet wait until they call `unblock`."""
    former = signal.pthread_sigmask(signal.SIG_BLOCK, _HELD)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, former)


def unblock() -> None:
    """Take the signals that have waited since this process was started."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _HELD)


def has_terminal() -> bool:
    """Whether this process belongs to a terminal that is open. A terminal sends SIGHUP when it is closed."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return False
    return True
