"""Too many links that are not valid are refused without asking the store, and nobody else notices."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from gateway.dataplane.throttling import MIN_SECONDS
from gateway.secrets import new_token, token_id
from tests.support.http_client import Response, request
from tests.support.plane import Plane, run_plane
from tests.support.timing import lasts
from tests.support.waiting import wait_until

LINE = 40


@pytest.fixture(scope="module")
def behind(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plane]:
    """Two workers that count together, behind a front proxy on this machine."""
    options: dict[str, Any] = {"trusted_proxies": "127.0.0.1, 10.0.0.0/8", "workers": 2}
    with run_plane(tmp_path_factory.mktemp("attempts"), max_attempts=LINE, **options) as running:
        yield running


def is_over(answer: Response) -> bool:
    if answer.status != 429:
        return False
    assert answer.code == "too_many_attempts"
    assert 1 <= int(answer["Retry-After"]) <= 60
    return True


def commands(plane: Plane) -> int:
    return int(plane.store.info("stats")["total_commands_processed"])


def tries(plane: Plane, client: str, count: int, form: str = "/download?token={}", *fields: str) -> list[int]:
    """The statuses of so many attempts, each on a connection of its own, so that any worker gets it."""
    return [
        plane.get(form.format(new_token()), f"X-Forwarded-For: {client}", *fields).status
        for _ in range(count)
    ]


@pytest.mark.parametrize(
    ("form", "fields", "client"),
    [
        ("/download?token={}", (), "203.0.113.1"),
        ("/download?token={}", ("Range: bytes=0-9",), "203.0.113.2"),
        ("/download?token={}", ("If-Range: x",), "203.0.113.3"),
        ("/download/{}/a.bin", (), "203.0.113.4"),
        ("/download?token=ct_none&x={}", (), "203.0.113.5"),
        ("/download?token={}", ("Accept: application/json", "Cookie: a=b"), "2001:db8::1"),
    ],
)
def test_the_line_is_exact_across_workers(
    behind: Plane, form: str, fields: tuple[str, ...], client: str
) -> None:
    statuses = tries(behind, client, LINE + 5, form, *fields)
    assert statuses == [403] * LINE + [429] * 5


def test_over_the_line_the_store_is_not_asked(behind: Plane) -> None:
    client = "X-Forwarded-For: 203.0.113.20"
    tries(behind, "203.0.113.20", LINE)
    for _ in range(8):  # each worker learns of it at its own next attempt
        assert is_over(behind.get(f"/download?token={new_token()}", client))
    with behind.connect() as one:
        assert is_over(one.get(f"/download?token={new_token()}", client))
        before, begun = commands(behind), time.monotonic()
        for target in ("/download?token={}", "/download/{}/x", "/download/y?token={}&z=1") * 60:
            assert is_over(one.get(target.format(new_token()), client))
        page = one.get(f"/download?token={new_token()}", client, "Accept: text/html")
        assert (page.status, page["Content-Type"]) == (429, "text/html; charset=utf-8")
        own = 10 * (time.monotonic() - begun)  # the workers have a few commands a second of their own
        assert commands(behind) - before < 90 + own


def test_valid_links_go_on(behind: Plane) -> None:
    """Of whom a worker knows that it is valid, and those of other clients."""
    client = "X-Forwarded-For: 203.0.113.30"
    published = behind.publish(b"x" * 50)
    limited, free = behind.link(published, 9), behind.link(published)
    with behind.connect() as one:
        assert [one.get(link, client).status for link in (limited, free)] == [200, 200]
        for _ in range(LINE + 1):
            last = one.get(f"/download?token={new_token()}", client)
        assert is_over(last)
        assert [one.get(link, client).status for link in (limited, free)] == [200, 200]
        assert one.get(free, client, "Range: bytes=0-9").status == 206
        assert is_over(one.get(behind.link(published), client))
        assert one.get(behind.link(published), "X-Forwarded-For: 203.0.113.31").status == 200
        behind.revoke(free.partition("=")[2])
        assert is_over(one.get(free, client))  # it was looked up, is not valid, and counted


@pytest.mark.parametrize(
    ("clients", "together"),
    [
        (("2001:db8:1:2::1", "2001:db8:1:2:ffff::9"), True),
        (("2001:db8:1:3::1", "2001:db8:1:4::1"), False),
        (("::ffff:198.51.100.1", "198.51.100.1"), True),
        (("198.51.100.2", "198.51.100.3"), False),
    ],
)
def test_who_counts_as_one_client(behind: Plane, clients: tuple[str, str], together: bool) -> None:
    one, other = clients
    assert tries(behind, one, LINE)[-1] == 403
    assert tries(behind, other, 1) == [429 if together else 403]


def test_the_questions_of_a_front_proxy_count_for_its_client(behind: Plane) -> None:
    asked: list[Response] = []
    for number in range(LINE + 3):
        link = f"/download?token={new_token()}"
        fields = [f"X-Original-URI: {link}", "X-Forwarded-For: 203.0.113.40"]
        if number % 2:
            fields = [f"X-Forwarded-Uri: {link}", "X-Forwarded-Method: GET", fields[1]]
        asked.append(behind.get("/auth", *fields))
    codes = [answer.get("X-Gateway-Code") or json.loads(answer.body)["code"] for answer in asked]
    assert codes == ["token_invalid"] * LINE + ["too_many_attempts"] * 3


def test_nobody_is_shut_out_where_the_proxy_names_no_client(behind: Plane) -> None:
    statuses = [behind.get(f"/download?token={new_token()}").status for _ in range(LINE + 5)]
    assert statuses == [403] * (LINE + 5)


def test_without_a_proxy_the_peer_counts_and_is_logged(make_plane: Callable[..., Plane]) -> None:
    plane = make_plane(max_attempts=2)
    forged: tuple[list[str], ...] = (
        ["X-Forwarded-For: 203.0.113.50"],
        ["X-Forwarded-For: 203.0.113.51"],
        [],
        [],
    )
    token = new_token()
    answers = [plane.get(f"/download?token={token}", *fields) for fields in forged]
    assert [answer.status for answer in answers] == [403, 403, 429, 429]
    wait_until(lambda: len(plane.entries()) == 4, "all were logged")
    assert [entry["code"] for entry in plane.entries()] == ["token_invalid"] * 2 + ["too_many_attempts"] * 2
    assert {entry["token"] for entry in plane.entries()} == {token_id(token)}


@pytest.fixture
def direct(make_plane: Callable[..., Plane]) -> Plane:
    """A worker without a front proxy; its only client is over the line."""
    plane = make_plane(max_attempts=1)
    tried = [plane.get(f"/download?token={new_token()}").status for _ in range(2)]
    assert tried == [403, 429]
    return plane


@pytest.mark.timing
def test_a_client_over_the_line_is_throttled_on_each_connection(direct: Plane) -> None:
    forms = ("/download?token={}", "/download/{}/x", "/download?token={}")
    with direct.connect() as one, lasts(least=3 * MIN_SECONDS):
        for form in forms:
            assert is_over(one.get(form.format(new_token())))
        assert one.get("/healthz").status == 200


def test_what_a_throttled_client_sent_meanwhile_is_answered_in_order(direct: Plane) -> None:
    link = direct.link(direct.publish(b"x" * 50))
    targets = [
        f"/download?token={new_token()}",
        "/healthz",
        f"/download?token={new_token()}",
        link,
        "/healthz",
    ]
    with direct.connect() as one:
        one.send(b"".join(request(each) for each in targets))
        one.end()
        assert [one.read().status for _ in targets] == [429, 200, 429, 429, 200]
        one.assert_closed()


def test_a_throttled_connection_that_is_lost_or_left_is_forgotten(direct: Plane) -> None:
    for _ in range(20):
        with direct.connect() as one:
            assert is_over(one.get(f"/download?token={new_token()}"))
    with direct.connect() as one:
        assert is_over(one.get(f"/download?token={new_token()}"))
        direct.stop()  # which fails the test where the worker complained of anything


def test_no_line(make_plane: Callable[..., Plane]) -> None:
    plane = make_plane(max_attempts=0)
    with plane.connect() as client:
        assert {client.get(f"/download?token={new_token()}").status for _ in range(1000)} == {403}
