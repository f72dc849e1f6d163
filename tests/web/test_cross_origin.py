"""What another site's page may make a browser send: nothing that changes anything."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.web.cross_origin import is_from_own_pages
from tests.support.rows import each_row

HOSTS = ("shop.example", "127.0.0.1:8083")


@each_row(
    ("sites", "origins", "allowed"),
    [
        (["same-origin"], [], True),
        (
            ["same-origin"],
            ["https://evil.example"],
            True,
        ),  # as the browser says; Origin may be a proxy's fault
        (["none"], [], True),
        (["same-site"], ["https://shop.example"], False),
        (["cross-site"], ["https://shop.example"], False),
        (["cross-site"], [], False),
        ([""], ["https://shop.example"], False),
        (["same-origin", "cross-site"], [], False),
        ([], ["https://shop.example"], True),
        ([], ["https://SHOP.example"], True),
        ([], ["https://shop.example:443"], True),
        ([], ["http://127.0.0.1:8083"], True),
        ([], ["http://127.0.0.1:8080"], False),
        ([], ["https://shop.example.evil.example"], False),
        ([], ["https://evil.example/shop.example"], False),
        ([], ["https://shop.example@evil.example"], False),
        ([], ["null"], False),
        ([], [""], False),
        ([], ["https://["], False),
        ([], ["https://shop.example", "https://shop.example"], False),
        ([], [], True),
    ],
)
def test_requests_that_change_something(sites: Sequence[str], origins: Sequence[str], allowed: bool) -> None:
    for method in ("POST", "PUT", "PATCH", "DELETE", "ANYTHING"):
        assert is_from_own_pages(method, sites, origins, HOSTS) is allowed
    for method in ("GET", "HEAD", "OPTIONS"):
        assert is_from_own_pages(method, sites, origins, HOSTS)
