"""Which addresses are those of the internet, in every form."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from gateway.webhooks.networks import is_loopback, is_public
from tests.support.rows import each_row

PUBLIC = [
    "1.1.1.1", "8.8.8.8", "93.184.215.14", "100.63.255.255", "100.128.0.0", "172.15.255.255",
    "172.32.0.0", "169.253.255.255", "192.169.0.0", "198.17.255.255", "198.20.0.0", "223.255.255.255",
    "9.255.255.255", "11.0.0.0", "126.255.255.255", "128.0.0.0", "192.0.1.0", "168.63.129.15",
    "2606:4700::1111", "2001:4860:4860::8888", "2001:200::1", "2a00::1", "2003::1", "::ffff:8.8.8.8",
    "64:ff9b::8.8.8.8",
]  # fmt: skip
OTHERS = [
    "0.0.0.0", "0.1.2.3", "10.0.0.0", "10.255.255.255", "100.64.0.0", "100.127.255.255", "127.0.0.1",
    "127.255.255.255", "168.63.129.16", "169.254.0.1", "169.254.169.254", "172.16.0.0", "172.31.255.255",
    "192.0.0.1", "192.0.2.1", "192.88.99.1", "192.168.0.0", "192.168.255.255", "198.18.0.0",
    "198.19.255.255", "198.51.100.1", "203.0.113.1", "224.0.0.1", "239.255.255.255", "240.0.0.1",
    "255.255.255.255", "::", "::1", "::2", "::7f00:1", "::ffff:127.0.0.1", "::ffff:0.0.0.0",
    "::ffff:192.168.1.1", "::ffff:169.254.169.254", "::ffff:0:127.0.0.1", "64:ff9b::127.0.0.1",
    "64:ff9b::10.0.0.1", "64:ff9b::169.254.169.254", "64:ff9b:1::8.8.8.8", "100::1", "2001::1",
    "2001:0:7f00:1::", "2001:10::1", "2001:20::1", "2001:2::1", "2001:db8::1", "2002:7f00:1::1",
    "2002:808:808::1", "3fff::1", "4000::1", "5f00::1", "fc00::1", "fdff::1", "fe80::1", "fe80::1%eth0",
    "2606:4700::1111%eth0", "fec0::1", "ff02::1", "ffff::",
]  # fmt: skip


@each_row("text", PUBLIC)
def test_an_address_of_the_internet(text: str) -> None:
    assert is_public(ip_address(text))


@each_row("text", OTHERS)
def test_an_address_that_not_everybody_may_have(text: str) -> None:
    assert not is_public(ip_address(text))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("127.0.0.1", True), ("127.255.0.1", True), ("::1", True), ("::ffff:127.0.0.1", True),
        ("128.0.0.1", False), ("::2", False), ("::ffff:10.0.0.1", False), ("0.0.0.0", False), ("::", False),
    ],
)  # fmt: skip
def test_this_machine(text: str, expected: bool) -> None:
    assert is_loopback(ip_address(text)) is expected
