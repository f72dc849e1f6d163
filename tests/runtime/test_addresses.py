"""Addresses: which texts are valid, which two addresses collide, and how they are printed."""

from __future__ import annotations

import os

import pytest

from gateway.runtime.addresses import Address
from tests.support.rows import each_row


@pytest.mark.parametrize(
    ("text", "address", "printed", "url"),
    [
        ("127.0.0.1:80", Address("127.0.0.1", 80), "127.0.0.1:80", "http://127.0.0.1:80"),
        (":8080", Address("0.0.0.0", 8080), "0.0.0.0:8080", "http://127.0.0.1:8080"),
        ("[::]:1", Address("::", 1), "[::]:1", "http://[::1]:1"),
        ("[0:0::2]:1", Address("::2", 1), "[::2]:1", "http://[::2]:1"),
        ("my-host.example:0", Address("my-host.example", 0), "my-host.example:0", "http://my-host.example:0"),
        ("unix:/run/x.sock", Address(path="/run/x.sock"), "unix:/run/x.sock", "http://localhost"),
        ("unix:///run/x.sock", Address(path="/run/x.sock"), "unix:/run/x.sock", "http://localhost"),
        ("unix:/a/../b", Address(path="/b"), "unix:/b", "http://localhost"),
        ("unix:x", Address(path=os.path.abspath("x")), f"unix:{os.path.abspath('x')}", "http://localhost"),
    ],
)
def test_an_address(text: str, address: Address, printed: str, url: str) -> None:
    assert Address.parse(text) == address
    assert str(address) == printed
    assert Address.parse(printed) == address
    assert address.url() == url


@each_row(
    "text",
    ["", "80", "host", "host:", "host:x", "host:-1", "host:٣", "h:65536", "::1:80", "[::1]", "[x]:1",
     "a b:1", "-h:1", "http://h:1", "unix:", "unix://", "unix:a\0b", "unix:/" + "x" * 107],
)  # fmt: skip
def test_no_address(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        Address.parse(text)


@pytest.mark.parametrize(
    ("one", "other", "clash"),
    [
        ("h:1", "h:1", True),
        ("h:1", "h:2", False),
        ("h:1", "g:1", False),
        ("h:1", ":1", True),
        ("[::]:1", "127.0.0.1:1", True),
        ("h:0", "h:0", False),
        ("unix:/a", "unix:/b/../a", True),
        ("unix:/a", "unix:/b", False),
        ("unix:/a", "h:1", False),
    ],
)
def test_clashes(one: str, other: str, clash: bool) -> None:
    assert Address.parse(one).clashes(Address.parse(other)) is clash
    assert Address.parse(other).clashes(Address.parse(one)) is clash
