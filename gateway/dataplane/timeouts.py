"""The time-outs of a connection: which one runs, for how long, and since when.

The rules:

- At most one time-out runs at a time. It follows from the connection's state (connection_state.py), unless
  the client leaves our bytes unread: then it is STALL. There is no limit on the time of a whole transfer.
- No timer is set for a request. The server looks at each connection about once a second, and `Watch` compares
  what it sees with what it saw the time before.
- A time-out runs from the last progress. Progress is a change of a number, the `mark`.
- A client stalls when it takes no bytes for `stall_timeout`. Bytes that it took before allow a pause in
  addition, one second for each PAUSE_BYTES, because a client that limits its own rate (curl --limit-rate)
  takes 10 MB at once and then sleeps for as long as its rate requires.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Final

BODY_SECONDS: Final = 2.0
"""How long the answer waits for the request's body. After that it is given, and the connection closes."""
LINGER_SECONDS: Final = 2.0
"""How long the client may still send after we have ended our side: a reset must not overtake our answer."""
PAUSE_BYTES: Final = 64 * 1024
"""For so many bytes that it has taken, a client may pause for one second more."""
PAUSE_SECONDS: Final = 60.0
"""The longest pause that bytes taken before allow."""


class Timeout(enum.Enum):
    """What a connection waits for from its client."""

    NONE = enum.auto()  # nothing: we wait for the store or the storage, which have limits of their own
    HEADER = enum.auto()  # the rest of a request head
    KEEPALIVE = enum.auto()  # the next request
    BODY = enum.auto()  # the rest of a request body
    STALL = enum.auto()  # that the client takes bytes
    LINGER = enum.auto()  # that the client ends its side


@dataclass(frozen=True)
class Limits:
    """Seconds that a connection may wait, how many connections there may be, and bytes of a request head."""

    header_timeout: float
    keepalive_timeout: float
    stall_timeout: float
    max_connections: int
    max_line: int
    max_field: int
    max_headers: int
    max_head: int

    def seconds(self, timeout: Timeout) -> float:
        """How long this time-out is."""
        return {
            Timeout.NONE: float("inf"),
            Timeout.HEADER: self.header_timeout,
            Timeout.KEEPALIVE: self.keepalive_timeout,
            Timeout.STALL: self.stall_timeout,
            Timeout.BODY: BODY_SECONDS,
            Timeout.LINGER: LINGER_SECONDS,
        }[timeout]


class Watch:
    """Remembers since when a connection has waited without progress. now: seconds of one clock."""

    __slots__ = ("_mark", "_since", "_taken", "_timeout")

    def __init__(self, timeout: Timeout, mark: float, now: float) -> None:
        self._timeout = timeout
        self._mark = mark
        self._since = now
        self._taken = 0.0

    def is_overdue(self, timeout: Timeout, mark: float, now: float, limits: Limits) -> bool:
        """Whether the connection has waited for longer than it may.

        mark: a number that changes whenever there is progress; for STALL it grows by the bytes taken.
        """
        if timeout is self._timeout and mark == self._mark:
            return now - self._since >= limits.seconds(timeout)
        self._timeout, self._mark = timeout, mark
        if timeout is not Timeout.STALL:
            self._since = now
        else:
            allowed_pause = max(0.0, mark - self._taken) / PAUSE_BYTES
            self._taken = mark
            self._since = min(max(now, self._since) + allowed_pause, now + PAUSE_SECONDS)
        return False
