"""What a worker with `tls_cert` does that another one does not."""

from __future__ import annotations

import ssl
from collections.abc import Iterator

import pytest

from tests.support.certificates import make_certificate
from tests.support.http_client import Response
from tests.support.plane import Plane, run_plane

HSTS = "Strict-Transport-Security"
BROWSER = "Accept: text/html"
CORS = ("Origin: https://shop.example", "Access-Control-Request-Method: GET")


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plane]:
    folder = tmp_path_factory.mktemp("tls")
    certificate, key = make_certificate(folder)
    with run_plane(
        folder, tls_cert=certificate, tls_key=key, trusted_proxies="127.0.0.1", cors_origins="*"
    ) as running:
        running.client_context = ssl.create_default_context(cafile=str(certificate))
        yield running


def ask_everything(plane: Plane) -> Iterator[Response]:
    """One answer of each kind that there is, each twice where a second one comes from memory."""
    one, several = plane.publish(b"x" * 100_000), plane.publish(b"one", b"two")
    small = plane.publish(b"small")
    for link in (plane.link(one), plane.link(several), plane.link(small)) * 2:
        for fields in (
            (),
            ("Range: bytes=0-1",),
            ("Range: bytes=0-1,4-4",),
            ("Range: bytes=900000-",),
            (BROWSER,),
        ):
            yield plane.get(link, *fields)
        yield plane.get(link, method="HEAD")
        yield plane.get("/auth", f"X-Original-URI: {link}")
    etag = small.etag
    yield plane.get(plane.link(small), f"If-None-Match: {etag}")
    yield plane.get(plane.link(small), 'If-Match: "x"')
    for target in ("/healthz", "/readyz", "/nowhere", "/download", "/download?token=ct_none", "/auth"):
        for method in ("GET", "HEAD", "POST", "OPTIONS", "BREW"):
            yield plane.get(target, BROWSER, *CORS, method=method)
    with plane.connect() as client:  # what cannot be read
        client.send(b"GET /download HTTP/1.1\r\nno field\r\n\r\n")
        yield client.read()


@pytest.mark.slow
def test_every_answer_over_tls_asks_for_https(secure: Plane) -> None:
    statuses = set()
    for answer in ask_everything(secure):
        assert answer[HSTS] == "max-age=31536000"  # once, which Response checks
        statuses.add(answer.status)
    assert statuses >= {200, 204, 206, 304, 400, 401, 403, 404, 405, 412, 416}


def test_no_answer_over_plain_http_does(plane: Plane) -> None:
    """RFC 6797 section 7.2: not over a connection that is not secure."""
    assert [answer for answer in ask_everything(plane) if HSTS in answer] == []
