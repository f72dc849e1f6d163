"""When a child hangs: a table of readings."""

from __future__ import annotations

from itertools import pairwise

from gateway.supervisor.pulse import PAUSE_SECONDS, Pulse
from tests.support.rows import each_row

LIMIT = 3.0

Readings = list[tuple[float, int]]
"""The supervisor's clock, and the sign of life that it reads then."""


@each_row(
    ("readings", "hangs"),
    [
        ([(0, 1), (1, 2), (2, 3), (3, 4), (4, 5)], False),
        ([(0, 1), (1, 1), (2, 1), (2.9, 1)], False),
        ([(0, 1), (1, 1), (2, 1), (3, 1)], True),
        ([(0, 1), (1, 1), (2, 1), (3, 1), (4, 1)], True),
        ([(0, 1), (1, 1), (2, 1), (3, 1), (3.5, 2)], False),  # it has come back
        ([(0, 1), (1, 1), (2, 2), (3, 2), (4, 2), (4.9, 2)], False),
        ([(0, 9), (1, 9), (2, 9), (3, 8)], False),  # a clock that was set back is a sign of life, too
        ([(0, 1), (1, 1), (2, 1), (3600, 1)], False),  # the supervisor was paused
        ([(0, 1), (3600, 1), (3601, 1), (3602, 1)], False),  # and the child wakes up a little later
        ([(0, 1), (3600, 1), (3601, 1), (3602, 1), (3603, 1)], True),
        ([(0, 1), (PAUSE_SECONDS, 1), (2 * PAUSE_SECONDS, 1)], True),  # late, but not a pause
        ([(0, 1), (2.1, 1), (4.2, 1), (6.3, 1), (8.4, 1)], False),  # a machine too busy to judge by
        ([(0, 0), (1, 0), (2, 0), (3, 0)], True),  # it never gave a sign after it was ready
    ],
)
def test_silence_counts_while_the_supervisor_is_awake(readings: Readings, hangs: bool) -> None:
    pulse = Pulse()
    pulse.observe(readings[0][1], 0.0)
    changes = 0
    for (before, _), (now, beat) in pairwise(readings):
        pulse.observe(beat, now - before)
        changes += pulse.judge(LIMIT, is_traced=False)
    assert pulse.is_hung is hangs
    assert changes <= 2, "each change is told once"


def test_a_child_that_a_debugger_holds_does_not_hang() -> None:
    pulse = Pulse()
    for _ in range(10):
        pulse.observe(0, 1.0)
        assert not pulse.judge(LIMIT, is_traced=True)
    assert pulse.judge(LIMIT, is_traced=False), "the debugger has gone, and it is still silent"
