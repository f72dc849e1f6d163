"""The states of a pipeline, and the events that lead from one to another. Pure: no I/O, no clock.

    IDLE         nothing has begun
    CONNECTING   an attempt to connect is under way
    AWAY         the last attempt failed, or the server was unfit; the next attempt waits for its back-off
    READY        connected, the scripts are loaded, no command is overdue. Only now are commands sent
    STALLED      connected, but the oldest command is overdue; new commands fail at once
    CLOSED       stopped for ever

When nothing arrives on a connection for too long (SILENT), the pipeline connects again, but the old
connection is not closed at once. It is set aside and still read for a while, because a server that was frozen
executes the commands that it was sent, and its late replies say which claims must be returned.

A server that has become a replica (UNFIT; `replies.py` has the table) is given up at once, and the pipeline
waits for a back-off before it connects again: the server's name may still lead to the same one. The replies
that are under way are still read, but no reply that a replica gave is believed.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Final


class State(enum.Enum):
    """What a pipeline does now."""

    IDLE = "idle"
    CONNECTING = "connecting"
    AWAY = "away"
    READY = "ready"
    STALLED = "stalled"
    CLOSED = "closed"


class Event(enum.Enum):
    """What happens to a pipeline."""

    START = "start"
    FAILED = "failed"
    """The attempt to connect failed."""
    RETRY = "retry"
    """The back-off has passed."""
    CONNECTED = "connected"
    """The connection is made, authenticated, and has loaded the scripts."""
    OVERDUE = "overdue"
    """The oldest command has no reply by its deadline."""
    CAUGHT_UP = "caught up"
    """No command is overdue any more."""
    LOST = "lost"
    """The connection has closed."""
    UNFIT = "unfit"
    """The server says that it is not the right one, or the connection ended as soon as it was ready."""
    SILENT = "silent"
    """Nothing has arrived for long after a command was overdue: the connection is given up."""
    STOP = "stop"


TRANSITIONS: Final[Mapping[State, Mapping[Event, State]]] = {
    State.IDLE: {Event.START: State.CONNECTING, Event.STOP: State.CLOSED},
    State.CONNECTING: {
        Event.CONNECTED: State.READY,
        Event.FAILED: State.AWAY,
        Event.STOP: State.CLOSED,
    },
    State.AWAY: {Event.RETRY: State.CONNECTING, Event.STOP: State.CLOSED},
    State.READY: {
        Event.OVERDUE: State.STALLED,
        Event.LOST: State.CONNECTING,
        Event.UNFIT: State.AWAY,
        Event.STOP: State.CLOSED,
    },
    State.STALLED: {
        Event.CAUGHT_UP: State.READY,
        Event.LOST: State.CONNECTING,
        Event.UNFIT: State.AWAY,
        Event.SILENT: State.CONNECTING,
        Event.STOP: State.CLOSED,
    },
    State.CLOSED: {Event.STOP: State.CLOSED},
}


def next_state(state: State, event: Event) -> State:
    """The state after an event. Raises ValueError when the event cannot happen in this state."""
    try:
        return TRANSITIONS[state][event]
    except KeyError:
        raise ValueError(f"a pipeline that is {state.value} cannot have the event {event.value!r}") from None
