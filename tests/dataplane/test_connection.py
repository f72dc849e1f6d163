"""One request and its answer: what HTTP/1 requires of a server. Real sockets and a real worker."""

from __future__ import annotations

import pytest

from tests.support.downloads import LARGE
from tests.support.http_client import request, statuses
from tests.support.plane import Plane
from tests.support.publications import Published
from tests.support.rows import each_row

pytestmark = pytest.mark.usefixtures("no_leak")


# --- one request, one answer --------------------------------------------------------------------------------


def test_head_has_the_head_of_get(plane: Plane, small: Published) -> None:
    link = plane.link(small)
    with plane.connect() as client:
        got, headed = client.get(link), client.get(link, method="HEAD")
    assert got.body == b"a small file"
    assert headed.body == b""
    assert [line for line in headed.lines if line[0] != "Date"] == [
        line for line in got.lines if line[0] != "Date"
    ]


@each_row(
    ("version", "fields", "keeps", "answered"),
    [
        ("1.1", (), True, None),
        ("1.1", ("Connection: close",), False, "close"),
        ("1.1", ("Connection: Close, TE",), False, "close"),
        ("1.1", ("Connection: keep-alive",), True, None),
        ("1.0", (), False, "close"),
        ("1.0", ("Connection: keep-alive",), True, "keep-alive"),
    ],
)
@each_row("kind", ["small", "large", "health", "refused", "index"])
def test_keep_alive(
    plane: Plane,
    small: Published,
    large: Published,
    kind: str,
    version: str,
    fields: tuple[str, ...],
    keeps: bool,
    answered: str | None,
) -> None:
    target = {
        "small": plane.link(small),
        "large": plane.link(large),
        "health": "/healthz",
        "refused": "/download",
        "index": plane.link(plane.publish(b"1", b"2")),
    }[kind]
    with plane.connect() as client:
        client.send(request(target, *fields, version=version))
        answer = client.read()
        assert answer.get("Connection") == answered
        if keeps:
            assert client.get("/healthz").status == 200
        else:
            client.assert_closed()


def test_http10_needs_no_host(plane: Plane, small: Published) -> None:
    with plane.connect() as client:
        client.send(f"GET {plane.link(small)} HTTP/1.0\r\n\r\n".encode())
        assert client.read().body == b"a small file"
        client.assert_closed()


@pytest.mark.parametrize(
    "target",
    [
        "http://host.example{}",
        "http://host.example:8080{}",
        "https://host.example{}",
        "HTTP://HOST{}",
    ],
)
def test_absolute_form(plane: Plane, small: Published, target: str) -> None:
    assert plane.get(target.format(plane.link(small))).body == b"a small file"


@pytest.mark.parametrize(
    "path",
    ["/%64ownload", "/d%6Fwnloa%64", "/download/", "/download/file-0.bin", "//download", "/./download"],
)
def test_other_spellings_of_the_path(plane: Plane, small: Published, path: str) -> None:
    assert plane.get(f"{path}?token={plane.token(small)}").body == b"a small file"


@pytest.mark.parametrize(
    "target",
    ["/", "/downloads", "/downloadx?token=a", "/download%2Fx", "/HEALTHZ", "/healthz/", "//auth"],
)
def test_every_other_path_is_not_found(plane: Plane, target: str) -> None:
    answer = plane.get(target)
    assert (answer.status, answer.code) == (404, "not_found")


@pytest.mark.parametrize("target", ["/healthz", "//healthz", "/x/../healthz", "/download/../%2E/healthz"])
def test_a_path_is_looked_at_without_dot_segments(plane: Plane, target: str) -> None:
    assert plane.get(target).body == b'{"status": "ok"}'


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_health(plane: Plane, path: str, method: str) -> None:
    answer = plane.get(path, method=method)
    assert answer.status == 200
    assert answer["Cache-Control"] == "no-store"
    assert answer.body == (b'{"status": "ok"}' if method == "GET" else b"")


@each_row("path", ["/healthz", "/download", "/download/x?token=ct_x"])
@each_row("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "PROPFIND", "SUBSCRIBE"])
def test_other_methods(plane: Plane, path: str, method: str) -> None:
    answer = plane.get(path, method=method)
    assert (answer.status, answer.code) == (405, "method_not_allowed")
    assert answer["Allow"] == "GET, HEAD"


@pytest.mark.parametrize("method", ["FOO", "get", "G\x01T", "GET\x00", "TOKENTOKENTOKEN", ""])
def test_unknown_methods(plane: Plane, method: str) -> None:
    with plane.connect() as client:
        assert client.get("/healthz", method=method).status in (400, 405)


# --- clients that say they are done -------------------------------------------------------------------------


@pytest.mark.parametrize("first", [0, 1, 2])
@pytest.mark.parametrize("count", [1, 3])
def test_half_closed(plane: Plane, small: Published, large: Published, first: int, count: int) -> None:
    """`shutdown(SHUT_WR)` right after the requests: every answer comes, whole, then the end."""
    kinds = [plane.link(large), "/healthz", plane.link(small)]
    asked = [kinds[(first + number) % 3] for number in range(count)]
    with plane.connect() as client:
        client.send(b"".join(request(target) for target in asked))
        client.end()
        for target in asked:
            assert client.read().status == 200, target
        client.assert_closed()


def test_half_closed_during_a_transfer(plane: Plane, large: Published) -> None:
    with plane.connect() as client:
        client.send(request(plane.link(large)))
        length = int(client.read_head()["Content-Length"])
        first = client.read_bytes(1000)
        client.end()
        assert first + client.read_bytes(length - 1000) == LARGE
        client.assert_closed()


@pytest.mark.parametrize("data", [b"", b"GET /healthz HT", b"GET /healthz HTTP/1.1\r\nHost: x\r\n"])
def test_end_within_a_head(plane: Plane, data: bytes) -> None:
    with plane.connect() as client:
        client.send(data)
        client.end()
        client.assert_closed()


# --- bodies and expectations --------------------------------------------------------------------------------


@each_row("target", ["download", "/healthz", "/nowhere"])
@each_row(
    ("fields", "body"),
    [
        (("Content-Length: 5",), b"hello"),
        (("Content-Length: 0",), b""),
        (("Content-Length: 900000",), b"x" * 900_000),
        (("Transfer-Encoding: chunked",), b"5\r\nhello\r\n0\r\n\r\n"),
        (("Transfer-Encoding: chunked",), b"5;a=b\r\nhello\r\n0\r\nTrailer: 1\r\n\r\n"),
    ],
)
def test_a_stray_body_is_dropped(
    plane: Plane, small: Published, target: str, fields: tuple[str, ...], body: bytes
) -> None:
    link = plane.link(small) if target == "download" else target
    with plane.connect() as client:
        client.send(request(link, *fields) + body + request(link))
        assert client.read().status == client.read().status == (404 if target == "/nowhere" else 200)


@pytest.mark.parametrize("size", ["small", "large"])
def test_a_body_too_large_closes(plane: Plane, small: Published, large: Published, size: str) -> None:
    """10 MiB that nobody needs: the answer arrives, even if the client writes them all before it reads."""
    published = small if size == "small" else large
    with plane.connect() as client:
        client.send(request(plane.link(published), f"Content-Length: {10 << 20}") + bytes(10 << 20))
        answer = client.read()
        assert len(answer.body) == published.file.size
        assert not answer.keeps
        client.assert_closed()


@pytest.mark.parametrize(
    ("field", "body"),
    [
        ("Content-Length: 100", b"only some"),
        ("Transfer-Encoding: chunked", b"5\r\nhel"),
        ("Transfer-Encoding: chunked", b"zz\r\n"),
        ("Transfer-Encoding: chunked", b"5\r\nhelloXX"),
    ],
)
def test_a_body_never_finished(plane: Plane, small: Published, field: str, body: bytes) -> None:
    with plane.connect() as client:
        client.send(request(plane.link(small), field) + body)
        answer = client.read()
        assert answer.status in (200, 400)
        assert not answer.keeps
        client.assert_closed()


def test_expect_without_a_body(plane: Plane, small: Published) -> None:
    with plane.connect() as client:
        assert client.get(plane.link(small), "Expect: 100-continue").status == 200
        assert client.get("/healthz").status == 200


@pytest.mark.parametrize("field", ["Content-Length: 5", "Transfer-Encoding: chunked"])
def test_expect_with_a_body_gets_the_final_answer(plane: Plane, small: Published, field: str) -> None:
    with plane.connect() as client:
        answer = client.get(plane.link(small), "Expect: 100-continue", field)
        assert answer.body == b"a small file"
        assert not answer.keeps
        client.assert_closed()


@pytest.mark.parametrize("method", ["FOO", "BREW", "X-Y"])
def test_a_method_that_the_parser_does_not_know_is_refused(plane: Plane, method: str) -> None:
    answers = plane.exchange(f"{method} /download HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    assert statuses(answers) == [405]
    assert b"\r\nAllow: GET, HEAD\r\n" in answers
