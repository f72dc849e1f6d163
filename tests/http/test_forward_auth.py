"""How front proxies ask on behalf of their clients: tables."""

from __future__ import annotations

import pytest
from multidict import CIMultiDict, CIMultiDictProxy

from gateway.errors import TABLE, Refusal
from gateway.http.forward_auth import (
    CADDY,
    DIRECT,
    ENVOY,
    NGINX,
    permission_head,
    read_original,
    refusal_fields,
)
from tests.support.rows import each_row


def fields(*lines: tuple[str, str]) -> CIMultiDictProxy[str]:
    return CIMultiDictProxy(CIMultiDict(lines))


URI, METHOD = ("X-Original-URI", "/download?token=a"), ("X-Original-Method", "HEAD")
OTHER_URI = ("X-Forwarded-Uri", "/download?token=b")


@each_row(
    ("target", "lines", "expected"),
    [
        ("/auth", [], (DIRECT, "GET", "/auth")),
        ("/auth?token=a", [], (DIRECT, "GET", "/auth?token=a")),
        ("/auth", [URI], (NGINX, "GET", "/download?token=a")),
        ("/auth", [URI, METHOD], (NGINX, "HEAD", "/download?token=a")),
        ("/auth", [METHOD], (DIRECT, "GET", "/auth")),
        ("/auth", [OTHER_URI], (CADDY, "GET", "/download?token=b")),
        ("/auth", [OTHER_URI, ("X-Forwarded-Method", "POST")], (CADDY, "POST", "/download?token=b")),
        ("/auth/download/a?token=a", [], (ENVOY, "GET", "/download/a?token=a")),
        ("/auth/", [], (ENVOY, "GET", "/")),
        ("/authentic", [], (DIRECT, "GET", "/authentic")),
        # two dialects name the same request
        ("/auth", [URI, ("X-Forwarded-Uri", URI[1])], (NGINX, "GET", "/download?token=a")),
        ("/auth/download?token=a", [URI], (ENVOY, "GET", "/download?token=a")),
    ],
)
def test_the_original_request(
    target: str, lines: list[tuple[str, str]], expected: tuple[object, str, str]
) -> None:
    assert read_original("GET", target, fields(*lines)) == (*expected, False)


@pytest.mark.parametrize(
    ("target", "lines"),
    [
        ("/auth", [URI, OTHER_URI]),
        ("/auth", [URI, METHOD, ("X-Forwarded-Uri", URI[1])]),  # a HEAD costs nothing
        ("/auth", [URI, ("X-Original-URI", "/download?token=b")]),
        ("/auth", [URI, METHOD, ("X-Original-Method", "GET")]),
        ("/auth/download?token=b", [URI]),
        ("/auth/download?token=a", [URI, METHOD]),
    ],
)
def test_different_requests_are_disputed(target: str, lines: list[tuple[str, str]]) -> None:
    for order in (lines, lines[::-1]):
        assert read_original("GET", target, fields(*order)).disputed


@pytest.mark.parametrize(
    ("refused", "sent"), [(401, 401), (403, 403), (400, 403), (404, 403), (405, 403), (502, 403), (503, 403)]
)
def test_statuses_that_nginx_passes_on(refused: int, sent: int) -> None:
    assert NGINX.status(refused) == sent
    assert [dialect.status(refused) for dialect in (CADDY, ENVOY, DIRECT)] == [refused] * 3


def test_a_permission_names_the_token() -> None:
    head = permission_head("0123")
    assert head.startswith(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n")
    assert head.endswith(b"X-Gateway-Token-Id: 0123\r\n")


@each_row("refusal", TABLE, ids=lambda refusal: refusal.code)
def test_the_true_status_travels_in_fields(refusal: Refusal) -> None:
    fields = refusal_fields(refusal).decode()
    assert fields == f"X-Gateway-Status: {refusal.status}\r\nX-Gateway-Code: {refusal.code}\r\n"
