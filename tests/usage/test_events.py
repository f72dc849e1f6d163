"""The form of a batch of events: what goes in comes out, and damage is found."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.usage.events import (
    MAX_EVENTS,
    BadBatch,
    Event,
    decode_batch,
    delivered,
    encode_batch,
    number_texts,
)
from tests.support.usage import FILE, batch, event

SPANS = st.lists(st.tuples(st.integers(0, 1000), st.integers(0, 1000)).map(sorted).map(tuple), max_size=4)


@given(
    st.lists(
        st.builds(
            lambda spans, agent, client: event(
                spans=tuple(span for span in spans if span[0] < span[1]),
                agent=agent,
                client=client,
            ),
            SPANS,
            st.text(max_size=10),
            st.sampled_from(["192.0.2.1", "2001:db8::1", ""]),
        ),
        min_size=1,
        max_size=5,
    )
)
def test_a_batch_gives_its_events_back(events: list[Event]) -> None:
    numbered = [one._replace(number=7 + place) for place, one in enumerate(events)]
    assert decode_batch(batch(numbered)) == numbered


@pytest.mark.parametrize(
    ("spans", "sent", "found"),
    [
        ([(0, 1000)], 1000, [(0, 1000)]),
        ([(0, 1000)], 10, [(0, 10)]),
        ([(0, 1000)], 0, []),
        ([(500, 600)], 100, [(500, 600)]),
        ([(500, 600), (0, 100)], 150, [(500, 600), (0, 50)]),
        ([(500, 600), (0, 100)], 100, [(500, 600)]),
        ([], 0, []),
    ],
)
def test_what_was_sent_is_the_beginning_of_what_was_asked_for(
    spans: list[tuple[int, int]], sent: int, found: list[tuple[int, int]]
) -> None:
    assert delivered(spans, sent, 1000) == tuple(found)


@pytest.mark.parametrize("span", [(-1, 5), (5, 4), (0, 1001)])
def test_a_span_outside_the_file_is_damage(span: tuple[int, int]) -> None:
    with pytest.raises(BadBatch):
        delivered([span], 1, 1000)


@given(st.data())
def test_a_damaged_batch_raises_nothing_but_bad_batch(data: st.DataObject) -> None:
    whole = batch([event(0), event(1, agent="wget")])
    place = data.draw(st.integers(0, len(whole) - 1))
    damaged = data.draw(
        st.sampled_from([whole[:place], whole + b"\0", b"", whole[:place] + b"\xff" + whole[place + 1 :]])
    )
    with contextlib.suppress(BadBatch):
        decode_batch(damaged)


def test_a_batch_that_is_too_long_is_refused() -> None:
    with pytest.raises(BadBatch):
        decode_batch(batch([event(number) for number in range(MAX_EVENTS + 1)]))


@pytest.mark.parametrize(
    "change", [{"worker": 5}, {"first": -1}, {"files": [[1, 2, 3, 4, 5]]}, {"agents": [5]}, {"files": []}]
)
def test_a_wrong_head_is_refused(change: dict[str, Any]) -> None:
    head = {
        "worker": "w",
        "first": 0,
        "count": 1,
        "base": 0,
        "files": [FILE],
        "clients": [""],
        "agents": [""],
        "method": "GET",
    }
    columns = ([0], [0], [0], [1000], [0], [5])
    assert decode_batch(encode_batch(head, ["0" * 32], columns))
    with pytest.raises(BadBatch):
        decode_batch(encode_batch(head | change, ["0" * 32], columns))


def test_numbers_follow_each_other() -> None:
    assert number_texts("abcab") == (["a", "b", "c"], [0, 1, 2, 0, 1])
