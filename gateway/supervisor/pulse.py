"""The rule by which a child hangs: it runs, but its event loop gives no sign of life (`runtime.heartbeat`).

1. What counts is the time that the supervisor has spent awake and on time without seeing a new sign. The
   clock of the child does not matter.
2. After a pause of the supervisor every child begins anew. A laptop that slept, a container or machine that
   was frozen, or a debugger, pauses all of them, and the children may need a moment to wake up.
3. A child that a debugger holds does not hang.
"""

from __future__ import annotations

from typing import Final

PAUSE_SECONDS: Final = 2.0
"""A reading that comes later than this after the one before it follows a pause. A busy machine delays it by
less. If it delays it by more, it is too busy for children to be judged by."""


class Pulse:
    """What is known of one child's signs of life."""

    def __init__(self) -> None:
        self.silent = 0.0
        """For how many seconds there was no new sign."""
        self.is_hung = False
        self._beat = 0

    def observe(self, beat: int, passed: float) -> None:
        """Take a reading: the last sign of life, and the seconds since the reading before this one."""
        if beat != self._beat or passed > PAUSE_SECONDS:
            self.silent = 0.0
        else:
            self.silent += passed
        self._beat = beat

    def judge(self, limit: float, is_traced: bool) -> bool:
        """Decide whether the child hangs, and return whether that has changed.

        limit: for how many seconds a child may be silent. is_traced: whether a debugger holds it.
        """
        was_hung = self.is_hung
        self.is_hung = self.silent >= limit and not is_traced
        return self.is_hung is not was_hung
