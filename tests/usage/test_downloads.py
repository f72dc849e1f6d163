"""When attempts are one download, and when another begins: a table of cases, and that no order matters."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.usage import downloads as module
from gateway.usage.client_classes import CLASSES, classify
from gateway.usage.coverage import count
from gateway.usage.downloads import DAY, PERIOD, Attempt, DayKey, Download, add_up, compact, days_of
from tests.support.rows import each_row

SIZE = 100
SECOND = 1_000_000


def attempt(number: int, start: float, end: float, *spans: tuple[int, int]) -> Attempt:
    """An attempt from second `start` to second `end`; it sent the whole file unless spans are given."""
    sent = spans or ((0, SIZE),)
    total = sum(stop - begin for begin, stop in sent)
    times = (int(start * SECOND), int(end * SECOND))
    return Attempt(times[0], "w", number, times[1], "t", total, sent, "192.0.2.1", "curl/8")


@dataclass(frozen=True)
class Case:
    """attempts: start, end and spans of each, and whether it was cut. expected: for each download its
    attempts and when it completed."""

    name: str
    attempts: tuple[tuple[Any, ...], ...]
    expected: tuple[tuple[int, float | None], ...]


WHOLE = ((0, SIZE),)
CUT = "cut"
CASES = (
    Case("one", ((0, 1, WHOLE),), ((1, 1),)),
    Case("broken off", ((0, 1, ((0, 50),)),), ((1, None),)),
    Case("resumed", ((0, 1, ((0, 50),)), (5, 6, ((50, 100),))), ((2, 6),)),
    Case("begun again from the start", ((0, 1, ((0, 50),)), (5, 6, WHOLE)), ((2, 6),)),
    Case("twice", ((0, 1, WHOLE), (2, 3, WHOLE)), ((1, 1), (1, 3))),
    Case("at the very moment", ((0, 1, WHOLE), (1, 2, WHOLE)), ((1, 1), (1, 2))),
    Case("two at once", ((0, 5, WHOLE), (1, 6, WHOLE)), ((2, 5),)),
    Case("parallel parts", tuple((0, 1 + n, ((n * 25, n * 25 + 25),)) for n in range(4)), ((4, 4),)),
    Case(
        "a part twice at the end",
        ((0, 5, ((0, 50),)), (0, 6, ((50, 100),)), (4, 8, ((90, 95),))),
        ((3, 6),),
    ),
    Case("a piece of the next", ((0, 1, WHOLE), (2, 3, ((0, 10),))), ((1, 1), (1, None))),
    Case("several spans of one answer", ((0, 1, ((0, 60), (60, 100))),), ((1, 1),)),
    Case("overlapping parts that leave a hole", ((0, 1, ((0, 60),)), (2, 3, ((10, 99),))), ((2, None),)),
    Case("what was lost when it was broken off is asked for again at the end",
         ((0, 5, ((0, 50),), CUT), (6, 7, ((50, 100),)), (8, 9, ((40, 50),)), (10, 11, ((30, 40),))), ((4,
         7),)), Case("lost bytes are repaired once",
         ((0, 5, ((0, 50),), CUT), (6, 7, ((50, 100),)), (8, 9, ((40, 50),)), (10, 11, ((40, 50),))), ((3, 7),
         (1, None))), Case("a repair that is too late",
         ((0, 5, ((0, 50),), CUT), (6, 7, ((50, 100),)), (608, 609, ((40, 50),))), ((2, 7), (1, None))),
    Case("a part that was given up",
         ((0, 5, ((0, 50),)), (0, 7, ((50, 100),)), (8, 9, ((60, 61),), CUT)), ((3, 7),)),
    Case("the beginning of another download that was given up",
         ((0, 5, ((0, 50),)), (0, 7, ((50, 100),)), (8, 9, ((0, 1),), CUT)), ((2, 7), (1, None))),
    Case("whole again after one that was broken off",
         ((0, 5, ((0, 50),), CUT), (6, 7, ((50, 100),)), (8, 9, WHOLE)), ((2, 7), (1, 9))),
    Case("30 days later", ((0, 1, ((0, 50),)), (PERIOD / SECOND, PERIOD / SECOND + 1, WHOLE)), ((1, None), (1,
    PERIOD / SECOND + 1))), Case("just before 30 days", ((0, 1, ((0, 50),)), (PERIOD / SECOND - 1, PERIOD /
    SECOND, ((50, 100),))), ((2, PERIOD / SECOND),)), )  # fmt: skip


@each_row("case", CASES, ids=lambda case: case.name)
@each_row("seed", range(3))
def test_cases(case: Case, seed: int) -> None:
    made = [
        attempt(number, start, end, *spans)._replace(whole=not cut)
        for number, (start, end, spans, *cut) in enumerate(case.attempts)
    ]
    random.Random(seed).shuffle(made)
    found = add_up(made, SIZE)
    assert [
        (len(one.attempts), None if one.completed is None else one.completed / SECOND) for one in found
    ] == list(case.expected)


PLACE = st.integers(0, SIZE - 1)
SPAN = st.tuples(PLACE, PLACE).map(lambda both: (min(both), max(both) + 1))
SOME = st.lists(st.tuples(st.integers(0, 40), st.integers(1, 10), SPAN, st.booleans()), max_size=12)


@given(SOME, st.randoms(use_true_random=False))
def test_neither_order_nor_repetition_nor_cuts_matter(
    cases: list[tuple[int, int, tuple[int, int], bool]], order: random.Random
) -> None:
    """Whatever comes in whatever batches, what is kept of the earlier ones adds up to the same."""
    made = [
        attempt(number, start, start + length, span)._replace(whole=whole)
        for number, (start, length, span, whole) in enumerate(cases)
    ]
    expected = add_up(made, SIZE)
    left = made + [each for each in made if order.random() < 0.3]
    order.shuffle(left)
    known: list[Download] = []
    while left:
        number = order.randint(1, len(left))
        some, left = left[:number], left[number:]
        known = add_up([*some, *(each for one in known for each in one.attempts)], SIZE)
    assert known == expected
    assert sum(one.times for one in expected) == len(made)
    assert all((one.completed is not None) == (count(one.covered) == SIZE) for one in expected)


def test_a_download_of_very_many_attempts_is_put_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_ATTEMPTS", 10)
    made = [attempt(number, number, number + 0.5, (number, number + 1)) for number in range(99)]
    [download] = add_up(made, SIZE)
    small = compact(download)
    assert len(small.attempts) <= 10
    assert (small.times, small.bytes, small.covered) == (99, 99, download.covered)
    assert small.first_at == download.first_at
    [whole] = add_up([*small.attempts, attempt(99, 100, 101, (99, 100))], SIZE)
    assert (whole.completed, whole.times) == (101 * SECOND, 100)


def test_days() -> None:
    """A download is started on the day of its first byte, and completed on that of its last."""
    day = DAY // SECOND
    made = [attempt(0, day - 1, day - 0.5, (0, 50)), attempt(1, day + 1, day + 2, (50, 100))]
    made += [attempt(2, day + 10, day + 11, (0, 10))]
    assert days_of(add_up(made, SIZE), {"curl/8": "curl"}) == {
        DayKey(0, "curl", "completed"): [1, 0, 50],
        DayKey(1, "curl", "completed"): [0, 1, 50],
        DayKey(1, "curl", "started"): [1, 0, 10],
    }


@each_row(
    ("agent", "expected"),
    [
        ("curl/8.5.0", "curl"),
        ("Wget/1.21.3", "wget"),
        ("Wget2/2.1", "wget"),
        ("aria2/1.36.0", "aria2"),
        ("Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0 Safari/537.36",
        "browser"), ("Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)", "bot"),
        ("Mozilla/5.0 (compatible; bingbot/2.0)", "bot"),
        ("facebookexternalhit/1.1", "bot"),
        ("WhatsApp/2.23", "bot"),
        ("Axel/2.17", "download manager"),
        ("python-requests/2.31", "script"),
        ("Go-http-client/1.1", "script"),
        ("", "other"),
        ("Something else", "other"),
        ("Mozilla/5.0 (Cubot X18) Chrome/99", "browser"),
    ],
)  # fmt: skip
def test_classes_of_clients(agent: str, expected: str) -> None:
    assert classify(agent) == expected
    assert expected in CLASSES
