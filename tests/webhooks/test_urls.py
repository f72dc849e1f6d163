"""Which URLs an endpoint may have: one grammar, and no way to this machine or a private network."""

from __future__ import annotations

import pytest

from gateway.webhooks.urls import MOST_CHARACTERS, Target, UrlFault, read_url
from tests.support.rows import each_row

GOOD = [
    ("https://shop.example/hook", Target(True, "shop.example", 443, False)),
    ("https://shop.example", Target(True, "shop.example", 443, False)),
    ("https://SHOP.example./hook?a=1&b=%2F@", Target(True, "shop.example.", 443, False)),
    ("https://shop.example:8443/a/b;c=d", Target(True, "shop.example", 8443, False)),
    ("https://93.184.215.14/hook", Target(True, "93.184.215.14", 443, False)),
    ("https://[2606:2800:21f::1]:8443/", Target(True, "2606:2800:21f::1", 8443, False)),
    ("https://a-b_c.shop.example/", Target(True, "a-b_c.shop.example", 443, False)),
    ("https://xn--bcher-kva.example/", Target(True, "xn--bcher-kva.example", 443, False)),
    ("https://shop.example/user@host", Target(True, "shop.example", 443, False)),
]
BAD = [
    ("http://shop.example/hook", "https"),
    ("ftp://shop.example/", "must be a URL"),
    ("HTTPS://shop.example/", "must be a URL"),
    ("//shop.example/", "must be a URL"),
    ("https:/shop.example/", "must be a URL"),
    ("https:///hook", "must be a URL"),
    ("https://", "must be a URL"),
    ("https://user@shop.example/", "user name"),
    ("https://user:password@shop.example/", "user name"),
    ("https://shop.example@127.0.0.1/", "user name"),
    ("https://shop.example\\@127.0.0.1/", "user name"),
    ("https://shop.example\\.evil.example/", "must be a URL"),
    ("https://shop.example/#part", "fragment"),
    ("https://127.0.0.1#@shop.example/", "user name"),
    ("https://shop.example /", "must be a URL"),
    (" https://shop.example/", "must be a URL"),
    ("https://shop.example/\n", "must be a URL"),
    ("https://shop.example/\r\nX: y", "must be a URL"),
    ("https://shop.example/ä", "must be a URL"),
    ("https://bücher.example/", "must be a URL"),
    ("https://shop.example/%zz", "must be a URL"),
    ("https://shop.example%2eevil.example/", "must be a URL"),
    ("https://shop。example/", "must be a URL"),
    ("https://shop.example:/", "must be a URL"),
    ("https://shop.example:0/", "port"),
    ("https://shop.example:65536/", "port"),
    ("https://shop.example:999999/", "must be a URL"),
    ("https://shop.example:25/", "port"),
    ("https://shop.example:22/", "port"),
    ("https://shop.example:80/", "port"),
    ("https://shop..example/", "host name"),
    ("https://-shop.example/", "host name"),
    ("https://" + "a" * 64 + ".example/", "host name"),
    ("https://" + "a." * 130 + "example/", "host name"),
    ("https://shop.example/" + "a" * MOST_CHARACTERS, "characters"),
]
PRIVATE = [
    "localhost", "LOCALHOST", "localhost.", "shop", "a.localhost", "printer.local",
    "metadata.google.internal", "127.0.0.1", "127.1.2.3", "0.0.0.0", "10.0.0.1", "172.16.0.1",
    "172.31.255.255", "192.168.1.1", "169.254.169.254", "100.64.0.1", "100.100.100.200", "168.63.129.16",
    "192.0.0.192", "198.18.0.1", "224.0.0.1", "255.255.255.255", "240.0.0.1", "[::1]", "[::]",
    "[::ffff:127.0.0.1]", "[::ffff:10.0.0.1]", "[::ffff:7f00:1]", "[0:0:0:0:0:ffff:a9fe:a9fe]",
    "[fe80::1]", "[fc00::1]", "[fd00:ec2::254]", "[ff02::1]", "[2002:7f00:1::]", "[2002:0a00:0001::1]",
    "[64:ff9b::7f00:1]", "[64:ff9b::10.0.0.1]", "[64:ff9b:1::1]", "[2001:0:1::1]", "[2001:db8::1]",
    "[::127.0.0.1]", "[100::1]", "[3fff::1]", "[5f00::1]",
]  # fmt: skip
NUMBERS = [
    "2130706433", "0x7f000001", "017700000001", "0x7f.1", "127.1", "127.0.1", "0177.0.0.1",
    "0x7f.0x0.0x0.0x1", "127.0.0.0x1", "10.1", "1", "0", "00", "1.2.3.4.5", "256.1.1.1", "127.0.0.1.",
    "08.8.8.8", "shop.0x1",
]  # fmt: skip


@pytest.mark.parametrize(("url", "target"), GOOD)
def test_a_url_of_the_internet(url: str, target: Target) -> None:
    assert read_url(url) == target


@each_row(("url", "why"), BAD)
@each_row("allow_loopback", [False, True])
def test_what_is_no_url_of_an_endpoint(url: str, why: str, allow_loopback: bool) -> None:
    with pytest.raises(UrlFault, match=why) as raised:
        read_url(url, allow_loopback=allow_loopback)
    assert str(raised.value).startswith("must ")


@each_row("host", PRIVATE)
def test_a_host_that_is_private(host: str) -> None:
    with pytest.raises(UrlFault, match="private network"):
        read_url(f"https://{host}/hook")
    with pytest.raises(UrlFault, match="https"):
        read_url(f"http://{host}/hook")


@each_row("host", NUMBERS)
@each_row("allow_loopback", [False, True])
def test_an_address_in_another_form_is_no_host(host: str, allow_loopback: bool) -> None:
    for scheme in ("http", "https"):
        with pytest.raises(UrlFault):
            read_url(f"{scheme}://{host}/hook", allow_loopback=allow_loopback)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.9.9.9", "[::1]", "[::ffff:127.0.0.1]"])
def test_this_machine_where_the_setting_allows_it(host: str) -> None:
    for url in (f"http://{host}:8000/hook", f"https://{host}:25/"):
        assert read_url(url, allow_loopback=True).is_local
        with pytest.raises(UrlFault):
            read_url(url)


@pytest.mark.parametrize("host", ["10.0.0.1", "0.0.0.0", "[::]", "a.localhost", "localhost.", "192.168.0.1"])
def test_the_setting_allows_nothing_else(host: str) -> None:
    for scheme in ("http", "https"):
        with pytest.raises(UrlFault):
            read_url(f"{scheme}://{host}:8000/", allow_loopback=True)
