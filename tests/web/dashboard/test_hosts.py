"""Under which names the dashboard answers, against pages whose name leads to this machine."""

from __future__ import annotations

import pytest

from gateway.web.dashboard.hosts import is_own_host, origin_of
from tests.support.dashboard import Visitor
from tests.support.rows import each_row

OWN = [
    "127.0.0.1:8083",
    "127.0.0.1",
    "192.168.0.7:8083",
    "[::1]:8083",
    "localhost:8083",
    "LOCALHOST",
    "shop.localhost:8083",
    "seller.example",
    "Seller.Example:443",
]
OTHERS = [
    "evil.example",
    "evil.example:8083",
    "localhost.evil.example",
    "127.0.0.1.evil.example",
    "seller.example.evil.example",
    "notlocalhost",
    "seller.example@evil.example",
    "evil.example/127.0.0.1",
    "evil.example#localhost",
    "[::1",
    "",
    "a b",
]


@pytest.mark.parametrize("host", OWN)
def test_addresses_localhost_and_the_setting_are_ours(host: str) -> None:
    assert is_own_host(host, "https://seller.example")


@each_row("host", OTHERS)
def test_other_names_are_not(host: str) -> None:
    assert not is_own_host(host, "https://seller.example")
    assert not is_own_host(host, None)


def test_the_origin_is_the_one_that_browsers_have() -> None:
    assert origin_of("seller.example", "https://seller.example") == "https://seller.example"
    assert origin_of("Seller.example", "https://seller.example:8443/x") == "https://seller.example:8443"
    assert origin_of("localhost:8083", "https://seller.example") == "http://localhost:8083"
    assert origin_of("127.0.0.1:8083", None) == "http://127.0.0.1:8083"


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example:80"])
async def test_a_page_under_another_name_gets_nothing(owner: Visitor, host: str) -> None:
    """DNS rebinding: the browser takes evil.example for one site, wherever its name leads to."""
    for path in ("/", "/sign-in", "/settings/changes", "/join?link=x"):
        answer = await owner.get(path, headers={"Host": host})
        assert answer.status == 421, path
        assert "maria" not in answer.text
