"""How front proxies speak for their clients, and whom they may speak for: tables."""

from __future__ import annotations

from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict, CIMultiDictProxy

from gateway.proxy import DIRECT, NGINX, Peer, TrustedProxies, read_original

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
def test_whom_to_trust(peer: Peer, trusted: bool) -> None:
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


@pytest.mark.parametrize(
    ("lines", "trusted", "expected"),
    [
        ([], True, (DIRECT, "GET", "/auth")),
        ([URI], True, (NGINX, "GET", "/download?token=a")),
        ([URI, METHOD], True, (NGINX, "HEAD", "/download?token=a")),
        ([METHOD], True, (DIRECT, "GET", "/auth")),
        ([URI, METHOD], False, (DIRECT, "GET", "/auth")),
    ],
)
def test_the_original_request(
    lines: list[tuple[str, str]], trusted: bool, expected: tuple[object, str, str]
) -> None:
    original = read_original("GET", "/auth", fields(*lines), trusted)
    assert (original.dialect, original.method, original.target) == expected


@pytest.mark.parametrize(
    ("refused", "told"), [(401, 401), (403, 403), (400, 403), (404, 403), (405, 403), (502, 403), (503, 403)]
)
def test_statuses_that_nginx_passes_on(refused: int, told: int) -> None:
    assert NGINX.status(refused) == told
    assert DIRECT.status(refused) == refused
