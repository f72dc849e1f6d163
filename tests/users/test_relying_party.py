"""Where passkeys work, after WebAuthn level 3."""

from __future__ import annotations

from gateway.users.relying_party import relying_party
from tests.support.rows import each_row

TABLE = [
    ("https://gateway.example", "gateway.example"),
    ("https://Gateway.Example:8443", "gateway.example"),
    ("http://localhost:8083", "localhost"),
    ("http://shop.localhost:8083", "shop.localhost"),
    ("https://localhost", "localhost"),
    ("http://gateway.example", None),
    ("http://127.0.0.1:8083", None),
    ("https://127.0.0.1", None),
    ("https://[::1]:8083", None),
    ("http://localhost.evil.example", None),
    ("ftp://localhost", None),
    ("https://gateway.example.", None),
    ("https://[::1", None),
    ("null", None),
    ("", None),
]


@each_row(("origin", "identifier"), TABLE)
def test_passkeys_need_a_name_with_https_or_localhost(origin: str, identifier: str | None) -> None:
    found = relying_party(origin)
    assert (found and found.id) == identifier
    assert found is None or found.origin == origin
