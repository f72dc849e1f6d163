"""The table of a connection's states: every state with every event, and the time-out of every state."""

from __future__ import annotations

import pytest

from gateway.dataplane.connection_state import (
    TIMEOUTS,
    TRANSITIONS,
    WAITING_FOR_A_REQUEST,
    Event,
    State,
    after,
)
from gateway.dataplane.timeouts import Timeout
from tests.support.rows import each_row

EVENTS = (
    Event.HEAD_PART,
    Event.REQUEST,
    Event.BODY_AWAITED,
    Event.ANSWERED,
    Event.THROTTLE,
    Event.READ_AGAIN,
    Event.CLIENT_EOF,
    Event.CLOSE,
    Event.LOST,
)
X = None  # cannot happen
N, H, I, B, A, T, L, C = State  # noqa: E741 - the rows and cells of the table below
TABLE: dict[State, tuple[State | None, ...]] = {
    #   part req body answ thro again eof close lost
    N: (H, A, B, X, X, X, L, L, C),
    H: (H, A, B, X, X, X, L, L, C),
    I: (H, A, B, X, T, X, L, L, C),
    B: (X, A, X, X, X, X, X, L, C),
    A: (X, X, X, I, X, X, X, X, C),
    T: (X, X, X, X, X, I, X, L, C),
    L: (X, X, X, X, X, X, L, L, C),
    C: (X, X, X, C, X, X, X, C, C),
}
CASES = [
    (state, event, next_state)
    for state in State
    for event, next_state in zip(EVENTS, TABLE[state], strict=True)
]


def test_every_state_and_event_is_in_the_table_of_this_test() -> None:
    assert set(TABLE) == set(TRANSITIONS) == set(State)
    assert set(EVENTS) == set(Event)


@each_row(("state", "event", "next_state"), CASES)
def test_every_event_in_every_state(state: State, event: Event, next_state: State | None) -> None:
    assert after(event).get(state) is next_state
    assert TRANSITIONS[state].get(event) is next_state


def test_an_event_that_cannot_happen_is_a_defect() -> None:
    with pytest.raises(KeyError):
        after(Event.ANSWERED)[State.IDLE]


def test_every_state_can_be_reached_and_left_by_the_loss_of_the_connection() -> None:
    reached = {State.NEW} | {state for row in TRANSITIONS.values() for state in row.values()}
    assert reached == set(State)
    assert set(after(Event.LOST)) == set(State)


def test_nothing_leaves_closed() -> None:
    assert set(TRANSITIONS[State.CLOSED].values()) == {State.CLOSED}


def test_only_the_loss_of_the_connection_ends_lingering() -> None:
    assert {
        event for event, state in TRANSITIONS[State.LINGERING].items() if state is not State.LINGERING
    } == {Event.LOST}


def test_an_answer_is_begun_only_where_none_is_under_way() -> None:
    assert State.ANSWERING not in after(Event.REQUEST)
    assert set(after(Event.REQUEST).values()) == {State.ANSWERING}
    assert set(after(Event.ANSWERED)) == {State.ANSWERING, State.CLOSED}


@pytest.mark.parametrize(
    ("state", "timeout"),
    [
        (State.NEW, Timeout.HEADER),
        (State.READING_HEAD, Timeout.HEADER),
        (State.IDLE, Timeout.KEEPALIVE),
        (State.READING_BODY, Timeout.BODY),
        (State.ANSWERING, Timeout.NONE),
        (State.THROTTLED, Timeout.NONE),
        (State.LINGERING, Timeout.LINGER),
        (State.CLOSED, Timeout.NONE),
    ],
)
def test_the_time_out_follows_from_the_state(state: State, timeout: Timeout) -> None:
    assert TIMEOUTS[state] is timeout


def test_the_client_may_end_its_side_wherever_we_wait_for_a_request() -> None:
    assert set(after(Event.CLIENT_EOF)) == WAITING_FOR_A_REQUEST | {State.LINGERING}
    assert {after(Event.CLIENT_EOF)[state] for state in WAITING_FOR_A_REQUEST} == {State.LINGERING}
