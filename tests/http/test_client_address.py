"""Whom to trust, and which address a forwarded request comes from: tables of every way to write it."""

from __future__ import annotations

import time
from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict, CIMultiDictProxy

from gateway.http.client_address import (
    MAX_CHARACTERS,
    MAX_HOPS,
    Peer,
    TrustedProxies,
    address_group,
    read_node,
    unmapped_network,
)
from tests.support.rows import each_row
from tests.support.timing import lasts

TRUSTED = TrustedProxies((ip_network("10.0.0.0/8"), ip_network("fd00::/8"), ip_network("127.0.0.1/32")))
NOBODY = TrustedProxies(())
PROXY, STRANGER, UNIX = ("10.0.0.1", 5), ("203.0.113.9", 5), ""


def fields(*lines: tuple[str, str]) -> CIMultiDictProxy[str]:
    return CIMultiDictProxy(CIMultiDict(lines))


def listed(*values: str) -> CIMultiDictProxy[str]:
    return fields(*(("X-Forwarded-For", value) for value in values))


def forwarded(*values: str) -> CIMultiDictProxy[str]:
    return fields(*(("Forwarded", value) for value in values))


# Trust


@each_row(
    ("peer", "trusted"),
    [
        (("10.1.2.3", 5), True),
        (("11.1.2.3", 5), False),
        (("127.0.0.1", 5), True),
        (("127.0.0.2", 5), False),
        (("fd00::1", 5, 0, 0), True),
        (("fd00::1%eth0", 5, 0, 2), True),
        (("fe80::1%eth0", 5, 0, 2), False),
        (("::ffff:10.1.2.3", 5, 0, 0), True),
        (("::FFFF:0a01:0203", 5, 0, 0), True),
        (("::ffff:11.1.2.3", 5, 0, 0), False),
        (("::10.1.2.3", 5, 0, 0), False),
        (("not an address", 5), False),
        (("", 5), False),
        ("", True),  # a unix socket
        ("/run/client.sock", True),
    ],
)
def test_which_peers_are_trusted(peer: Peer, trusted: bool) -> None:
    assert TRUSTED.trusts(peer) is trusted
    assert NOBODY.trusts(peer) is not isinstance(peer, tuple)


def test_a_tcp_peer_without_an_address_is_never_trusted() -> None:
    for proxies in (TRUSTED, NOBODY, TrustedProxies((ip_network("0.0.0.0/0"), ip_network("::/0")))):
        assert not proxies.trusts(None)
        assert proxies.client(None, listed("198.51.100.1")) == ""
        assert not proxies.disputes(
            None, fields(("X-Forwarded-For", "1.1.1.1"), ("Forwarded", "for=2.2.2.2"))
        )


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
        ("::ffff:192.0.2.1/128", "192.0.2.1/32"),
        ("::ffff:0:0/96", "0.0.0.0/0"),
        ("::/0", "::/0"),
        ("10.0.0.0/8", "10.0.0.0/8"),
        ("fd00::/104", "fd00::/104"),
    ],
)
def test_a_network_of_mapped_addresses_is_one_of_ipv4(written: str, meant: str) -> None:
    assert unmapped_network(ip_network(written)) == ip_network(meant)
    host = str(ip_network(meant)[0])
    assert TrustedProxies((ip_network(written),)).trusts((host, 5))


# One hop


@each_row(
    ("text", "address"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("203.0.113.7:4711", "203.0.113.7"),
        ("203.0.113.7:_port", "203.0.113.7"),
        ("2001:db8::7", "2001:db8::7"),
        ("2001:DB8:0:0::7", "2001:db8::7"),
        ("2001:db8::7:4711", "2001:db8::7:4711"),  # no brackets: the end is no port
        ("[2001:db8::7]", "2001:db8::7"),
        ("[2001:db8::7]:4711", "2001:db8::7"),
        ("[2001:db8::7]:_x", "2001:db8::7"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        ("[::ffff:203.0.113.7]:80", "203.0.113.7"),
        ("fe80::1%eth0", "fe80::1"),
        ("[fe80::1%25eth0]:80", "fe80::1"),
        ('"203.0.113.7"', "203.0.113.7"),
        ('"203.0.113.7:4711"', "203.0.113.7"),
        ('"[2001:db8::7]"', "2001:db8::7"),
        ('"[2001:db8::7]:4711"', "2001:db8::7"),
        ("::", "::"),
    ],
)
def test_a_hop_in_every_form(text: str, address: str) -> None:
    assert str(read_node(text)) == address
    assert TRUSTED.client(PROXY, listed(text)) == address
    assert TRUSTED.client(PROXY, listed(f"6.6.6.6, {text}")) == address
    assert TRUSTED.client(PROXY, forwarded(f'for="{text.strip(chr(34))}"')) == address
    assert TRUSTED.client(STRANGER, listed(text)) == "203.0.113.9"


@each_row(
    "text",
    [
        "unknown", "_hidden", "_x:80", '"_x"', "localhost", "example.com:80", "-",
        "203.0.113", "203.0.113.7.9", "203.0.113.256", "0203.0.113.7", "203.0.113.7/32", "203.0.113.7:",
        "203.0.113.7:65536", "203.0.113.7:x", "203.0.113.7 4711", "203.0.113.7%eth0", "[203.0.113.7]",
        "[203.0.113.7]:80", "[2001:db8::7", "2001:db8::7]", "[]", "[]:80", "[2001:db8::7]x", "[2001:db8::7]:",
        "[2001:db8::7]:70000", "[[2001:db8::7]]", "2001:db8:::7", "1:2:3:4:5:6:7:8:9", "fe80::1%",
        'fe80::1%"}', "fe80::1%a/b", '"203.0.113.7', '203.0.113.7"', '""203.0.113.7""', '"', '""',
        '" 203.0.113.7"',         "٢٠٣.0.113.7", "203。0。113。7", "2130706433", "0x7f.1", "\udcff",
        'evil", "status": 200', "x" * 16_000,
    ],
)  # fmt: skip
def test_a_hop_that_names_no_address_ends_the_reading(text: str) -> None:
    assert read_node(text) is None
    assert TRUSTED.client(PROXY, listed(text)) == "10.0.0.1"
    assert TRUSTED.client(PROXY, listed(f"198.51.100.1, {text}")) == "10.0.0.1"
    assert TRUSTED.client(PROXY, listed(f"198.51.100.1, {text}, 10.0.0.2")) == "10.0.0.2"


# Several hops


@each_row(
    ("peer", "values", "client"),
    [
        (STRANGER, [], "203.0.113.9"),
        (STRANGER, ["198.51.100.1"], "203.0.113.9"),  # anyone may write that
        (("::ffff:203.0.113.9", 5, 0, 0), ["198.51.100.1"], "203.0.113.9"),
        (("fe80::1%eth0", 5, 0, 2), [], "fe80::1"),
        (PROXY, [], "10.0.0.1"),
        (PROXY, [""], "10.0.0.1"),
        (PROXY, [",, ,\t,"], "10.0.0.1"),
        (PROXY, ["198.51.100.1"], "198.51.100.1"),
        (("::ffff:10.0.0.1", 5, 0, 0), ["198.51.100.1"], "198.51.100.1"),
        (PROXY, ["1.1.1.1, 198.51.100.1"], "198.51.100.1"),
        (PROXY, ["1.1.1.1", "198.51.100.1"], "198.51.100.1"),
        (PROXY, ["198.51.100.1, 10.0.0.2"], "198.51.100.1"),
        (PROXY, ["198.51.100.1:9, 10.0.0.3:80,[fd00::2]:443", "fd00::1, 10.0.0.2"], "198.51.100.1"),
        (PROXY, ["198.51.100.1, ::ffff:10.0.0.2"], "198.51.100.1"),
        (PROXY, ["10.0.0.3,10.0.0.2"], "10.0.0.3"),
        (PROXY, ["198.51.100.1,,  , 10.0.0.2 ,"], "198.51.100.1"),
        (PROXY, ["198.51.100.1, unknown, 10.0.0.2"], "10.0.0.2"),
        (UNIX, ["198.51.100.1"], "198.51.100.1"),
        (UNIX, ["198.51.100.1, 10.0.0.2"], "198.51.100.1"),
        (UNIX, [], ""),
        (PROXY, ["6.6.6.6," * 200 + "198.51.100.1"], "198.51.100.1"),
        (PROXY, ["198.51.100.1" + ",10.0.0.2" * (MAX_HOPS - 1)], "198.51.100.1"),
        (PROXY, ["198.51.100.1, 10.0.0.3" + ",10.0.0.2" * (MAX_HOPS - 1)], "10.0.0.3"),
        (PROXY, [f"198.51.100.1{' ' * MAX_CHARACTERS}, 10.0.0.2"], "10.0.0.2"),
        (PROXY, ["198.51.100.1," + "," * MAX_CHARACTERS], "10.0.0.1"),
        (PROXY, ["198.51.100.12" + "," * (MAX_CHARACTERS - 1)], "10.0.0.1"),  # not 2, and not 12
    ],
)
def test_the_nearest_hop_that_is_no_proxy_is_the_client(peer: Peer, values: list[str], client: str) -> None:
    assert TRUSTED.client(peer, listed(*values)) == client


@each_row(
    ("values", "client"),
    [
        (["for=198.51.100.1"], "198.51.100.1"),
        (["FOR=198.51.100.1;Proto=https;by=10.0.0.9"], "198.51.100.1"),
        (["by=6.6.6.6; for = 198.51.100.1"], "10.0.0.1"),
        (["proto=https; for=198.51.100.1 ;host=x"], "198.51.100.1"),
        (["for=6.6.6.6, for=198.51.100.1, for=10.0.0.2"], "198.51.100.1"),
        (["for=6.6.6.6", "for=198.51.100.1", 'for="[fd00::2]:80"'], "198.51.100.1"),
        (['for="[2001:db8::7]:4711"'], "2001:db8::7"),
        (["for=[2001:db8::7]:4711"], "2001:db8::7"),
        (["for=198.51.100.1:4711"], "198.51.100.1"),
        (['for=198.51.100.1;ext="a,for=6.6.6.6"'], "198.51.100.1"),
        (['ext="\\", for=6.6.6.6, \\"";for=198.51.100.1'], "198.51.100.1"),
        (["for=198.51.100.1,, ,"], "198.51.100.1"),
        (["for=198.51.100.1;;"], "198.51.100.1"),
        ([""], "10.0.0.1"),
        # what a hop does not tell, ends the reading
        (["for=6.6.6.6, for=unknown"], "10.0.0.1"),
        (["for=6.6.6.6, for=_hidden"], "10.0.0.1"),
        (["for=6.6.6.6, proto=https"], "10.0.0.1"),
        (['for=6.6.6.6, for=""'], "10.0.0.1"),
        (["for=6.6.6.6, for=unknown, for=10.0.0.2"], "10.0.0.2"),
        # an open quote of the client's, before what its proxy has added
        (['for=6.6.6.6;x=", for=198.51.100.1'], "10.0.0.1"),
        (['for=6.6.6.6;x=", for="198.51.100.1"'], "10.0.0.1"),
        (['for=6.6.6.6;x="\\", for="198.51.100.1"'], "10.0.0.1"),
        (['for=6.6.6.6;x="', "for=198.51.100.1"], "198.51.100.1"),
        (['for=6.6.6.6;x="', "for=10.0.0.2"], "10.0.0.2"),
        (["for=6.6.6.6;for=198.51.100.1"], "10.0.0.1"),
        (["for=6.6.6.6 for=198.51.100.1"], "10.0.0.1"),
        (["for=6.6.6.6, 198.51.100.1"], "10.0.0.1"),
        (["for==6.6.6.6"], "10.0.0.1"),
        (["for=\udcff"], "10.0.0.1"),
        (["for=198.51.100.1" + ";" * MAX_CHARACTERS], "10.0.0.1"),
    ],
)
def test_forwarded_of_rfc_7239(values: list[str], client: str) -> None:
    assert TRUSTED.client(PROXY, forwarded(*values)) == client
    assert TRUSTED.client(STRANGER, forwarded(*values)) == "203.0.113.9"


@pytest.mark.parametrize(
    ("said", "also", "client"),
    [
        ("198.51.100.1", "for=198.51.100.1", "198.51.100.1"),
        ("198.51.100.1:80", 'for="198.51.100.1:90"', "198.51.100.1"),
        ("198.51.100.1, 10.0.0.2", "for=198.51.100.1", "198.51.100.1"),
        ("198.51.100.1", "for=6.6.6.6", None),
        ("198.51.100.1", "for=unknown", None),
        ("unknown", "for=6.6.6.6", None),
        ("198.51.100.1", "for=", None),
    ],
)
def test_two_fields_that_name_different_clients_are_disputed(
    said: str, also: str, client: str | None
) -> None:
    both = fields(("X-Forwarded-For", said), ("Forwarded", also))
    assert TRUSTED.disputes(PROXY, both) is (client is None)
    assert TRUSTED.client(PROXY, both) == (client or "10.0.0.1")
    assert not TRUSTED.disputes(STRANGER, both)
    assert TRUSTED.client(STRANGER, both) == "203.0.113.9"
    assert not TRUSTED.disputes(PROXY, listed(said))
    assert not TRUSTED.disputes(PROXY, forwarded(also))


# Whatever comes


@given(
    st.lists(st.text() | st.text('0123456789abf.:[]"%,;= for', max_size=60)),
    st.sampled_from(["X-Forwarded-For", "Forwarded"]),
    st.sampled_from([PROXY, STRANGER, UNIX]),
)
def test_a_client_is_an_address(values: list[str], name: str, peer: Peer) -> None:
    client = TRUSTED.client(peer, fields(*((name, value) for value in values)))
    assert client == "" or str(ip_address(client)) == client


COSTLY = ["10.0.0.2,", "10.0.0.2:1,", "fd00::1,", "[fd00:1:2:3:4:5:6:7]:65535,", ",", " ", '"', "[", ":", "1",
          "%", "unknown,", "for=10.0.0.2,", 'for="[fd00::1]:80";by=_x,', ";", "a=1;", '"\\',
          "for="]  # fmt: skip


@pytest.mark.timing
@pytest.mark.parametrize("name", ["X-Forwarded-For", "Forwarded"])
@pytest.mark.parametrize("piece", COSTLY)
def test_16_kib_cost_less_than_a_millisecond(piece: str, name: str) -> None:
    hostile = fields(*[(name, (piece * 16_384)[:16_384])] * 2)
    with lasts(most=0.02, clock=time.process_time):
        for _ in range(20):
            TRUSTED.client(PROXY, hostile)


def test_what_clients_invent_is_not_kept() -> None:
    proxies = TrustedProxies((ip_network("10.0.0.0/8"),))
    for number in range(100):
        proxies.client(PROXY, listed(f"{number}, " * 100))
    assert proxies._nearest.cache_info().currsize == 0


@pytest.mark.parametrize(
    ("client", "group"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::1", "2001:db8:1:2::/64"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        ("", ""),
    ],
)
def test_one_client_is_an_address_or_a_network(client: str, group: str) -> None:
    assert address_group(client) == group


@pytest.mark.parametrize(
    ("peer", "said", "group"),
    [
        (("198.51.100.9", 1), "", ""),
        (("198.51.101.9", 1), "", "198.51.101.9"),
        (PROXY, "198.51.100.7", ""),
        (PROXY, "::ffff:198.51.100.7", ""),
        (PROXY, "2001:db8:5::1", ""),
        (PROXY, "2001:db8:6::1", "2001:db8:6::/64"),
        (STRANGER, "198.51.100.7", "203.0.113.9"),
        (PROXY, "", ""),
    ],
)
def test_exempt_clients_are_nobody(peer: Peer, said: str, group: str) -> None:
    exempt = ("::ffff:198.51.100.0/120", "2001:db8:5::/48")
    proxies = TrustedProxies((ip_network("10.0.0.0/8"),), tuple(ip_network(each) for each in exempt))
    assert proxies.client_group(peer, listed(), said) == group
