"""The states of a pipeline: which events each one allows, and where they lead."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.store.pipeline_state import TRANSITIONS, Event, State, next_state
from tests.support.rows import each_row


@each_row(
    ("events", "state"),
    [
        ([], State.IDLE),
        ([Event.START], State.CONNECTING),
        ([Event.START, Event.FAILED], State.AWAY),
        ([Event.START, Event.FAILED, Event.RETRY], State.CONNECTING),
        ([Event.START, Event.CONNECTED], State.READY),
        ([Event.START, Event.CONNECTED, Event.LOST], State.CONNECTING),
        ([Event.START, Event.CONNECTED, Event.OVERDUE], State.STALLED),
        ([Event.START, Event.CONNECTED, Event.OVERDUE, Event.CAUGHT_UP], State.READY),
        ([Event.START, Event.CONNECTED, Event.OVERDUE, Event.LOST], State.CONNECTING),
        ([Event.START, Event.CONNECTED, Event.OVERDUE, Event.SILENT], State.CONNECTING),
        ([Event.STOP], State.CLOSED),
        ([Event.START, Event.CONNECTED, Event.STOP, Event.STOP], State.CLOSED),
    ],
)
def test_where_events_lead(events: list[Event], state: State) -> None:
    reached = State.IDLE
    for event in events:
        reached = next_state(reached, event)
    assert reached is state


@pytest.mark.parametrize(
    ("state", "event"),
    [
        (State.IDLE, Event.CONNECTED),
        (State.CONNECTING, Event.START),
        (State.CONNECTING, Event.LOST),
        (State.AWAY, Event.CONNECTED),
        (State.READY, Event.CAUGHT_UP),
        (State.READY, Event.SILENT),
        (State.STALLED, Event.OVERDUE),
        (State.CLOSED, Event.START),
        (State.CLOSED, Event.RETRY),
    ],
)
def test_what_cannot_happen_is_refused(state: State, event: Event) -> None:
    with pytest.raises(ValueError, match=f"is {state.value} cannot have the event '{event.value}'"):
        next_state(state, event)


def test_every_state_is_in_the_table_and_can_be_reached_and_stopped() -> None:
    assert set(TRANSITIONS) == set(State)
    reached = {State.IDLE} | {after for row in TRANSITIONS.values() for after in row.values()}
    assert reached == set(State)
    assert all(row[Event.STOP] is State.CLOSED for row in TRANSITIONS.values())


@given(st.lists(st.sampled_from(Event)))
def test_only_a_connected_pipeline_becomes_ready_and_a_closed_one_stays_closed(events: list[Event]) -> None:
    state = State.IDLE
    for event in events:
        before = state
        try:
            state = next_state(state, event)
        except ValueError:
            continue
        if state is State.READY:
            assert event in (Event.CONNECTED, Event.CAUGHT_UP)
        if before is State.CLOSED:
            assert state is State.CLOSED
