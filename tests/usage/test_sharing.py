"""Which links look shared: a table of cases, most of them of people who share nothing."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.http.client_address import network_group
from gateway.usage.downloads import Attempt
from gateway.usage.sharing import SharingLimits, look_at, most_at_once
from tests.support.rows import each_row

SECOND = 1_000_000
LIMITS = SharingLimits(networks=4, overlap=3, programs=3, copies=4)
SIZE = 1000


def attempt(client: str, start: float = 0, stop: float = 10, **values: Any) -> Attempt:
    first = Attempt(
        int(start * SECOND),
        "w",
        int(start * 1000),
        int(stop * SECOND),
        "t",
        100,
        ((0, 100),),
        client,
        "curl/8",
    )
    return first._replace(**values)


def reasons(
    *attempts: Attempt, limits: SharingLimits = LIMITS, size: int = SIZE
) -> tuple[dict[str, int], bool]:
    found = look_at([(size, attempts)], limits)
    return {each.name: each.value for each in found.reasons}, found.looks_shared


FROM_MANY = [f"198.51.{number}.7" for number in range(12)]
BROWSER, WGET, ARIA = "Mozilla/5.0", "Wget/1.21", "aria2/1.36"
PROGRAMS = (BROWSER, WGET, ARIA, BROWSER)
FIVE = [attempt("192.0.2.1", n, n + 1, sent=1000) for n in range(5)]
NINE = [attempt("192.0.2.1", n, n + 1, sent=1000) for n in range(9)]


@each_row(
    ("attempts", "found", "shared"),
    [
        pytest.param([], {}, False, id="nothing"),
        pytest.param([attempt("192.0.2.1")], {}, False, id="one request"),
        pytest.param([attempt("192.0.2.1", n, n + 9) for n in range(16)], {}, False, id="parallel parts"),
        pytest.param(
            [attempt(f"192.0.2.{n}", n * 10, n * 10 + 9) for n in range(16)], {}, False, id="one network"
        ),
        pytest.param(
            [attempt(f"2001:db8:1:{n:x}::1", n * 10, n * 10 + 9) for n in range(16)], {}, False, id="one /48"
        ),
        pytest.param(
            [attempt(each, n * 100, n * 100 + 50) for n, each in enumerate(FROM_MANY[:3])],
            {},
            False,
            id="a phone that changes its network twice",
        ),
        pytest.param(
            [attempt("192.0.2.1"), attempt("2001:db8::1", 1, 9)], {}, False, id="IPv4 and IPv6 at once"
        ),
        pytest.param(
            [attempt(each, n * 100, n * 100 + 50) for n, each in enumerate(FROM_MANY[:5])],
            {"networks": 5},
            False,
            id="one reason alone",
        ),
        pytest.param(
            [attempt(each, n * 100, n * 100 + 50) for n, each in enumerate(FROM_MANY[:8])],
            {"networks": 8},
            True,
            id="one reason at twice its limit",
        ),
        pytest.param(
            [attempt(each) for each in FROM_MANY[:4]],
            {"networks": 4, "overlap": 4},
            True,
            id="four networks at once",
        ),
        pytest.param(
            [
                attempt(each, n * 100, n * 100 + 50, agent=agent)
                for n, (each, agent) in enumerate(
                    zip(FROM_MANY, (BROWSER, WGET, ARIA, BROWSER), strict=False)
                )
            ],
            {"networks": 4, "programs": 3},
            True,
            id="several networks and programs",
        ),
        pytest.param(
            [attempt("192.0.2.1", n, n + 1, sent=1000) for n in range(5)],
            {"copies": 5},
            False,
            id="five times",
        ),
        pytest.param(
            [attempt("192.0.2.1", n, n + 1, sent=1000) for n in range(9)],
            {"copies": 9},
            True,
            id="nine times",
        ),
        pytest.param(
            [attempt(each, agent="Googlebot/2.1") for each in FROM_MANY], {}, False, id="scanners of mail"
        ),
        pytest.param(
            [attempt("", agent="(curl)") for _ in range(9)], {}, False, id="addresses that are gone"
        ),
        pytest.param(
            [attempt(f"198.51.{n}.0/24", n * 100, n * 100 + 50) for n in range(8)],
            {"networks": 8},
            True,
            id="addresses that were cut to their networks",
        ),
        pytest.param(
            [attempt("::ffff:192.0.2.1"), attempt("192.0.2.9"), attempt("192.0.2.0/24")],
            {},
            False,
            id="one network in three spellings",
        ),
    ],
)
def test_what_looks_shared(attempts: list[Attempt], found: dict[str, int], shared: bool) -> None:
    assert reasons(*attempts) == (found, shared)


@pytest.mark.parametrize("name", SharingLimits._fields)
def test_a_limit_of_0_turns_a_reason_off(name: str) -> None:
    attempts = [
        attempt(each, sent=900, agent=agent)
        for each, agent in zip(FROM_MANY, [BROWSER, WGET, ARIA] * 4, strict=True)
    ]
    assert set(reasons(*attempts)[0]) == set(SharingLimits._fields)
    off = LIMITS._replace(**{name: 0})
    assert set(reasons(*attempts, limits=off)[0]) == set(SharingLimits._fields) - {name}


@pytest.mark.parametrize(
    ("attempts", "most"),
    [
        ([], 0),
        ([attempt("192.0.2.1", 0, 5), attempt("198.51.100.1", 5, 9)], 1),
        ([attempt("192.0.2.1", 0, 6), attempt("198.51.100.1", 5, 9)], 2),
        ([attempt("192.0.2.1", 0, 9), attempt("192.0.2.2", 1, 3), attempt("198.51.100.1", 4, 5)], 2),
        ([attempt("192.0.2.1", 3, 3), attempt("198.51.100.1", 3, 3)], 0),
        ([attempt("192.0.2.1", 0, 9, times=5), attempt("198.51.100.1", 1, 9)], 1),
    ],
)
def test_how_many_networks_at_once(attempts: list[Attempt], most: int) -> None:
    groups = {each.client: network_group(each.client) for each in attempts if each.client}
    assert most_at_once(attempts, groups) == most


def test_copies_are_of_all_files_that_were_received() -> None:
    files = [(1000, [attempt("192.0.2.1", sent=4000)]), (3000, [attempt("192.0.2.1", 1)]), (10**9, [])]
    assert look_at(files, LIMITS).reasons == ()
    assert [each.value for each in look_at(files[:1], LIMITS).reasons] == [4]
