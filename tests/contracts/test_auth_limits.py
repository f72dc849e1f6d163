"""`/auth`: what a front proxy is told, and what its requests charge."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from tests.support.backends import EVERY_BACKEND
from tests.support.http_client import CLIENT_SECONDS, Response, request
from tests.support.plane import Plane, run_plane
from tests.support.rows import each_row

BACKENDS = EVERY_BACKEND


@pytest.fixture(scope="module")
def behind(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plane]:
    """A worker that believes what a front proxy on this machine says."""
    with run_plane(tmp_path_factory.mktemp("behind"), trusted_proxies=("127.0.0.0/8",)) as running:
        yield running


def test_auth_charges_what_the_proxy_will_send(behind: Plane) -> None:
    published = behind.publish(b"x" * 1000, names=["some file.zip"])
    link = behind.link(published, maximum=2)
    uri = f"X-Original-URI: {link}"
    with behind.connect() as client:
        for fields, cost in (
            ((), 1000),
            (("X-Original-Method: HEAD",), 0),
            (("Range: bytes=0-99",), 100),
            (("Range: bytes=0-9,20-29",), 20),
            (("Range: bytes=5000-",), 0),
            (("Range: bytes=0-99", 'If-Range: "x"'), 1000),
        ):
            before = behind.charged(link)
            answer = client.get("/auth", uri, *fields)
            assert answer.status == 200
            assert behind.charged(link) - before == cost, fields
        assert answer["X-Gateway-File"] == "/_protected/main/1-0"
        assert answer["ETag"] == published.etag
        assert "some file.zip" in answer["Content-Disposition"]
        assert answer["X-Gateway-Token-Id"]
        refused = client.get("/auth", uri)
        assert (refused.status, refused["X-Gateway-Status"], refused["X-Gateway-Code"]) == (
            403,
            "403",
            "limit_reached",
        )


@pytest.mark.parametrize(
    ("target", "method", "status", "true_status", "code"),
    [
        ("/download", "GET", 401, "401", "token_missing"),
        ("/download?token=ct_unknown", "GET", 403, "403", "token_invalid"),
        ("/download?token=a&token=b", "GET", 403, "400", "bad_request"),
        ("/elsewhere", "GET", 403, "404", "not_found"),
        ("/download?token=ct_unknown", "POST", 403, "405", "method_not_allowed"),
    ],
)
def test_auth_refuses(
    behind: Plane, target: str, method: str, status: int, true_status: str, code: str
) -> None:
    answer = behind.get("/auth", f"X-Original-URI: {target}", f"X-Original-Method: {method}")
    assert answer.status == status
    assert (answer["X-Gateway-Status"], answer["X-Gateway-Code"]) == (true_status, code)


@pytest.mark.parametrize(
    ("asked", "fields"),
    [("/auth", ("X-Forwarded-Uri: {}", "X-Forwarded-Method: GET")), ("/auth{}", ())],
    ids=["caddy", "envoy"],
)
def test_auth_in_other_dialects(behind: Plane, asked: str, fields: tuple[str, ...]) -> None:
    published = behind.publish(b"x" * 1000)
    link = behind.link(published, maximum=1)

    def ask(target: str) -> Response:
        return behind.get(asked.format(target), *(each.format(target) for each in fields))

    answer = ask(link)
    assert (answer.status, answer["X-Gateway-Key"]) == (200, published.file.key)
    assert behind.charged(link) == 1000
    for target, status, code in (
        (link, 403, "limit_reached"),
        (link.replace("/download", "/download/other"), 404, "file_not_found"),
        ("/elsewhere", 404, "not_found"),
        ("/download", 401, "token_missing"),
        ("/download?token=a&token=b", 400, "bad_request"),
    ):
        refused = ask(target)
        assert (refused.status, refused.code) == (status, code)


@pytest.mark.parametrize(
    ("asked", "fields"),
    [
        ("/auth", ("X-Original-URI: {}", "X-Original-Method: GET")),
        ("/auth", ("X-Forwarded-Uri: {}", "X-Forwarded-Method: GET")),
        ("/auth{}", ()),
    ],
    ids=["nginx", "caddy", "envoy"],
)
def test_auth_charges_each_range_by_itself(behind: Plane, asked: str, fields: tuple[str, ...]) -> None:
    link = behind.link(behind.publish(b"x" * 1000), maximum=100)
    lines = [each.format(link) for each in fields]
    for ranges, cost in (
        (["0-9"] * 17, 170),
        (["0-9", "10-19"], 20),
        (["0-1"] * 256, 512),
        (["0-0"] * 257, 1000),
        (["0-9"] * 101, 1000),
    ):
        before = behind.charged(link)
        answer = behind.get(asked.format(link), *lines, f"Range: bytes={','.join(ranges)}")
        assert (answer.status, behind.charged(link) - before) == (200, cost)


def test_a_client_cannot_contradict_its_proxy(behind: Plane) -> None:
    """Behind Caddy, with the fields that Caddy passes on because it does not use them."""
    link = behind.link(behind.publish(b"x" * 1000), maximum=1)
    proxy = (f"X-Forwarded-Uri: {link}", "X-Forwarded-Method: GET")
    answer = behind.get("/auth", *proxy, f"X-Original-URI: {link}", "X-Original-Method: HEAD")
    assert (answer["X-Gateway-Status"], answer["X-Gateway-Code"]) == ("400", "bad_request")
    assert behind.charged(link) == 0


ELSEWHERE = "/elsewhere"


@pytest.mark.any_backend
@each_row("method", ["GET", "HEAD", "POST", "OPTIONS"])
@each_row(
    "asked",
    [
        "/auth",
        "/auth/",
        "/auth?token={token}",
        "/auth{link}",
        "/%61uth?token={token}",
        "/auth#x",
        "/auth?token=a&token=b",
        "http://localhost/auth?token={token}",
    ],
)
def test_auth_is_not_there_for_anyone_but_trusted_proxies(pair: Plane, asked: str, method: str) -> None:
    """The answer is that of any path that does not exist, and nothing is charged, whatever the fields say."""
    link = pair.link(pair.publish(b"x" * 1000), maximum=1)
    target = asked.format(link=link, token=link.partition("=")[2])
    unknown = pair.get(ELSEWHERE, method=method)
    shown = [line for line in unknown.lines if line[0] != "Date"]
    for fields in (
        (),
        (f"X-Original-URI: {link}", "X-Original-Method: GET"),
        (f"X-Forwarded-Uri: {link}", "X-Forwarded-Method: GET", "X-Forwarded-For: 127.0.0.1"),
        (f"Authorization: Bearer {link.partition('=')[2]}",),
    ):
        answer = pair.get(target, *fields, method=method)
        assert (answer.status, answer.body) == (404, unknown.body)
        assert [line for line in answer.lines if line[0] != "Date"] == shown
    assert pair.charged(link) == 0


def test_a_trusted_proxy_may_ask_for_itself(behind: Plane) -> None:
    link = behind.link(behind.publish(b"x" * 1000), maximum=1)
    answer = behind.get(link.replace("/download", "/auth"))
    assert (answer.status, "X-Gateway-Token-Id" in answer, behind.charged(link)) == (200, True, 1000)
    posted = behind.get(link.replace("/download", "/auth"), method="POST")
    assert (posted.status, posted.code) == (405, "method_not_allowed")


def test_a_listener_of_every_worker_serves(pair: Plane) -> None:
    for _ in range(20):
        with socket.create_connection(pair.address, CLIENT_SECONDS) as plain:
            plain.sendall(request("/healthz", "Connection: close"))
            assert plain.recv(100).startswith(b"HTTP/1.1 200")
