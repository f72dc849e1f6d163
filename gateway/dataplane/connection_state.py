"""The states of a client's connection, as a table. Pure: no I/O, no clock.

    state         what is going on                                                time-out
    NEW           connected; no byte of a request has arrived                     header
    READING_HEAD  a part of a request head has arrived                            header
    IDLE          at least one request was answered; the next one may come        keep-alive
    READING_BODY  a head has arrived, and its body is awaited, which is dropped   body
    ANSWERING     we answer a request                                             none
    THROTTLED     we refused one request too many; the next is read a bit later   none
    LINGERING     our side has ended; the client may still take our last bytes    linger
    CLOSED        the connection is lost; an answer under way may still end       none

A pair of state and event that the table does not have is a defect: the look-up raises KeyError.

Three facts are not part of the state, because each is independent of it, and a table of all combinations
could not be read any more:

- whether the client has ended its side. The end of its stream is kept as bytes are kept: CLIENT_EOF takes
  place only when everything before it has been answered;
- the bytes that arrived during an answer and are read after it;
- whether the client leaves our bytes unread. Then the stall time-out replaces the one of the table.
"""

from __future__ import annotations

import enum
from typing import Final

from gateway.dataplane.timeouts import Timeout


class State(enum.Enum):
    """What is going on on a connection."""

    __hash__ = object.__hash__  # members are compared by identity; Enum's own is 0.16 µs slower a look-up

    NEW = enum.auto()
    READING_HEAD = enum.auto()
    IDLE = enum.auto()
    READING_BODY = enum.auto()
    ANSWERING = enum.auto()
    THROTTLED = enum.auto()
    LINGERING = enum.auto()
    CLOSED = enum.auto()


class Event(enum.Enum):
    """What may happen to a connection."""

    __hash__ = object.__hash__

    HEAD_PART = enum.auto()  # bytes have arrived that do not complete a request head
    REQUEST = enum.auto()  # we begin to answer a request
    BODY_AWAITED = enum.auto()  # a whole head has arrived, and its body not yet
    ANSWERED = enum.auto()  # the answer that we began is complete, or will never be
    THROTTLE = enum.auto()  # the client tried too many tokens: nothing is read from it for a moment
    READ_AGAIN = enum.auto()  # the moment is over
    CLIENT_EOF = enum.auto()  # the client has ended its side, and all that it asked before is answered
    CLOSE = enum.auto()  # we end our side
    LOST = enum.auto()  # the transport is closed


TRANSITIONS: Final[dict[State, dict[Event, State]]] = {
    State.NEW: {
        Event.HEAD_PART: State.READING_HEAD,
        Event.REQUEST: State.ANSWERING,
        Event.BODY_AWAITED: State.READING_BODY,
        Event.CLIENT_EOF: State.LINGERING,
        Event.CLOSE: State.LINGERING,
        Event.LOST: State.CLOSED,
    },
    State.READING_HEAD: {
        Event.HEAD_PART: State.READING_HEAD,
        Event.REQUEST: State.ANSWERING,
        Event.BODY_AWAITED: State.READING_BODY,
        Event.CLIENT_EOF: State.LINGERING,
        Event.CLOSE: State.LINGERING,
        Event.LOST: State.CLOSED,
    },
    State.IDLE: {
        Event.HEAD_PART: State.READING_HEAD,
        Event.REQUEST: State.ANSWERING,
        Event.BODY_AWAITED: State.READING_BODY,
        Event.THROTTLE: State.THROTTLED,
        Event.CLIENT_EOF: State.LINGERING,
        Event.CLOSE: State.LINGERING,
        Event.LOST: State.CLOSED,
    },
    State.READING_BODY: {
        Event.REQUEST: State.ANSWERING,
        Event.CLOSE: State.LINGERING,
        Event.LOST: State.CLOSED,
    },
    State.ANSWERING: {
        Event.ANSWERED: State.IDLE,
        Event.LOST: State.CLOSED,
    },
    State.THROTTLED: {
        Event.READ_AGAIN: State.IDLE,
        Event.CLOSE: State.LINGERING,
        Event.LOST: State.CLOSED,
    },
    State.LINGERING: {
        Event.CLIENT_EOF: State.LINGERING,
        Event.CLOSE: State.LINGERING,
        Event.LOST: State.CLOSED,
    },
    State.CLOSED: {
        Event.ANSWERED: State.CLOSED,
        Event.CLOSE: State.CLOSED,
        Event.LOST: State.CLOSED,
    },
}

TIMEOUTS: Final[dict[State, Timeout]] = {
    State.NEW: Timeout.HEADER,
    State.READING_HEAD: Timeout.HEADER,
    State.IDLE: Timeout.KEEPALIVE,
    State.READING_BODY: Timeout.BODY,
    State.ANSWERING: Timeout.NONE,
    State.THROTTLED: Timeout.NONE,
    State.LINGERING: Timeout.LINGER,
    State.CLOSED: Timeout.NONE,
}
"""Which time-out runs in each state, unless the client leaves our bytes unread."""

WAITING_FOR_A_REQUEST: Final = frozenset((State.NEW, State.READING_HEAD, State.IDLE))
"""In these states every complete request has been answered."""


def after(event: Event) -> dict[State, State]:
    """The column of one event in the table: `after(event)[state]` is the next state."""
    return {state: row[event] for state, row in TRANSITIONS.items() if event in row}
