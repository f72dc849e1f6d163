"""What follows from each answer, how long pauses are, and when an endpoint is disabled."""

from __future__ import annotations

import email.utils

import pytest

from gateway.webhooks.outcomes import (
    DISABLE_AFTER,
    DISABLE_FAILURES,
    JITTER,
    LONGEST_RETRY_AFTER,
    PAUSES,
    SLOW_DOWN,
    Answer,
    Outcome,
    decide,
    is_hopeless,
    read_retry_after,
)
from tests.support.rows import each_row

NOW = 1_790_000_000
HOUR = 3600


def answer(status: int | None, retry_after: float | None = None) -> Answer:
    return Answer(status, None if status == 200 else "it failed", 5, retry_after)


@each_row(
    ("status", "outcome", "pause"),
    [
        *((status, Outcome.DELIVERED, 0) for status in (200, 201, 202, 204, 299)),
        *(
            (status, Outcome.REPEATED, 0)
            for status in (None, 301, 302, 304, 307, 308, 400, 401, 404, 500, 501)
        ),
        *((status, Outcome.REPEATED, SLOW_DOWN) for status in (429, 502, 503, 504)),
        (410, Outcome.FAILED, 0),
    ],
)
def test_answers(status: int | None, outcome: Outcome, pause: int) -> None:
    follows = decide(answer(status), 1, 0.0)
    assert (follows.outcome, follows.pause, follows.is_gone) == (outcome, pause, status == 410)
    assert follows.again == (PAUSES[0] if outcome is Outcome.REPEATED else None)


def test_the_table_of_pauses_is_that_of_the_specification_with_jitter() -> None:
    assert PAUSES == (5, 300, 1800, 2 * HOUR, 5 * HOUR, 10 * HOUR, 14 * HOUR, 20 * HOUR, 24 * HOUR)
    for chance in (0.0, 0.5, 1.0):
        given = [decide(answer(500), number, chance).again for number in range(1, len(PAUSES) + 2)]
        assert given == [*(pause * (1 + JITTER * chance) for pause in PAUSES), None]
    last = decide(answer(500), len(PAUSES) + 1, 0.5)
    assert (last.outcome, last.is_gone) == (Outcome.FAILED, False)


@pytest.mark.parametrize(
    ("asked", "again", "pause"),
    [
        (1, PAUSES[0], 1),
        (600, 600, 600),
        (10**9, LONGEST_RETRY_AFTER, LONGEST_RETRY_AFTER),
        (0, 5, SLOW_DOWN),
    ],
)
def test_what_the_receiver_asks_for(asked: float, again: float, pause: float) -> None:
    follows = decide(answer(429, asked), 1, 0.0)
    assert (follows.again, follows.pause) == (again, pause)


def test_retry_after_of_another_status_delays_the_message_only() -> None:
    assert decide(answer(500, 600), 1, 0.0)[1:3] == (600, 0.0)


@each_row(
    ("text", "seconds"),
    [
        ("120", 120.0),
        (" 0 ", 0.0),
        ("999999999999", float(LONGEST_RETRY_AFTER)),
        (email.utils.formatdate(NOW + 90, usegmt=True), 90.0),
        (email.utils.formatdate(NOW - 90, usegmt=True), 0.0),
        *((text, None) for text in ("", "-1", "1.5", "soon", "²", "9" * 10**5 + "x", "Wed, 99 Foo 2026")),
    ],
)
def test_retry_after(text: str, seconds: float | None) -> None:
    assert read_retry_after({"Retry-After": text}, float(NOW)) == seconds


def test_an_endpoint_is_hopeless_after_days_of_failures_only() -> None:
    since, days = 1_000_000, 1000 * DISABLE_AFTER
    assert not is_hopeless(since, DISABLE_FAILURES, since + days - 1)
    assert not is_hopeless(since, DISABLE_FAILURES - 1, since + days)
    assert is_hopeless(since, DISABLE_FAILURES, since + days)
    assert sum(PAUSES) < DISABLE_AFTER, "one message alone does not disable its endpoint"
