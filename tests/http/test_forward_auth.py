"""How front proxies ask on behalf of their clients, and which proxies are trusted: tables."""

from __future__ import annotations

from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict, CIMultiDictProxy

from gateway.errors import TABLE, Refusal
from gateway.http.forward_auth import (
    CADDY,
    DIRECT,
    ENVOY,
    NGINX,
    Original,
    Peer,
    TrustedProxies,
    permission_head,
    read_original,
    refusal_fields,
)

TRUSTED = TrustedProxies((ip_network("10.0.0.0/8"), ip_network("fd00::/8"), ip_network("127.0.0.1/32")))
NOBODY = TrustedProxies(())


def fields(*lines: tuple[str, str]) -> CIMultiDictProxy[str]:
    return CIMultiDictProxy(CIMultiDict(lines))


@pytest.mark.parametrize(
    ("peer", "trusted"),
    [
        (("10.1.2.3", 5), True),
        (("11.1.2.3", 5), False),
        (("127.0.0.1", 5), True),
        (("127.0.0.2", 5), False),
        (("fd00::1", 5, 0, 0), True),
        (("fe80::1%eth0", 5, 0, 2), False),
        (("::ffff:10.1.2.3", 5, 0, 0), True),
        (("::ffff:11.1.2.3", 5, 0, 0), False),
        (("not an address", 5), False),
        ("", True),  # a unix socket
        (None, True),
    ],
)
def test_which_peers_are_trusted(peer: Peer, trusted: bool) -> None:
    assert TRUSTED.trusts(peer) is trusted
    assert NOBODY.trusts(peer) is not isinstance(peer, tuple)


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        (("203.0.113.9", 5), [], "203.0.113.9"),
        (("203.0.113.9", 5), ["198.51.100.1"], "203.0.113.9"),  # anyone may write that
        (("10.0.0.1", 5), [], "10.0.0.1"),
        (("10.0.0.1", 5), ["198.51.100.1"], "198.51.100.1"),
        (("10.0.0.1", 5), ["1.1.1.1, 198.51.100.1"], "198.51.100.1"),
        (("10.0.0.1", 5), ["1.1.1.1", "198.51.100.1"], "198.51.100.1"),
        (("10.0.0.1", 5), ["198.51.100.1, 10.0.0.2"], "198.51.100.1"),
        (("10.0.0.1", 5), ["10.0.0.3,10.0.0.2"], "10.0.0.3"),
        (("10.0.0.1", 5), ["198.51.100.1,,  , 10.0.0.2 "], "198.51.100.1"),
        (("10.0.0.1", 5), ["2001:db8::1"], "2001:db8::1"),
        (("10.0.0.1", 5), ["198.51.100.1, unknown"], "10.0.0.1"),
        (("10.0.0.1", 5), ['198.51.100.1, evil", "status": 200'], "10.0.0.1"),
        (("10.0.0.1", 5), ['fe80::1%"}'], "10.0.0.1"),
        (("10.0.0.1", 5), [""], "10.0.0.1"),
        ("", ["198.51.100.1"], "198.51.100.1"),
        ("", [], ""),
    ],
)
def test_the_client(peer: Peer, forwarded: list[str], client: str) -> None:
    lines = fields(*(("X-Forwarded-For", line) for line in forwarded))
    assert TRUSTED.client(peer, lines) == client


@given(st.lists(st.text()), st.sampled_from([("10.0.0.1", 1), ("1.2.3.4", 1), ""]))
def test_a_client_is_an_address(forwarded: list[str], peer: Peer) -> None:
    client = TRUSTED.client(peer, fields(*(("X-Forwarded-For", line) for line in forwarded)))
    assert set(client) <= set("0123456789abcdefABCDEF.:")


URI, METHOD = ("X-Original-URI", "/download?token=a"), ("X-Original-Method", "HEAD")
OTHER_URI = ("X-Forwarded-Uri", "/download?token=b")


@pytest.mark.parametrize(
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
    assert read_original("GET", target, fields(*lines), trusted=True) == (*expected, False)


@pytest.mark.parametrize("target", ["/auth", "/auth?token=a"])
def test_the_fields_of_anyone_else_are_ignored(target: str) -> None:
    untrusted = read_original("GET", target, fields(URI, METHOD, OTHER_URI), trusted=False)
    assert untrusted == Original(DIRECT, "GET", target)


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
        assert read_original("GET", target, fields(*order), trusted=True).disputed


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


@pytest.mark.parametrize("refusal", TABLE, ids=lambda refusal: refusal.code)
def test_the_true_status_travels_in_fields(refusal: Refusal) -> None:
    fields = refusal_fields(refusal).decode()
    assert fields == f"X-Gateway-Status: {refusal.status}\r\nX-Gateway-Code: {refusal.code}\r\n"
