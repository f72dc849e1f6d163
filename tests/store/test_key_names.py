"""The names of the keys, and which of several servers holds a key."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.store.key_names import (
    API_KEY_PATTERN,
    PRODUCTS_KEY,
    TOKEN_PATTERN,
    api_key_key,
    idempotency_record_key,
    manifest_key,
    product_key,
    server_number,
    token_key,
    version_key,
)

ID = "0123456789abcdef" * 2


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (token_key(ID), f"dg:token:{{{ID}}}"),
        (manifest_key("d" * 64), f"dg:manifest:{{{'d' * 64}}}"),
        (product_key("drums"), "dg:product:{drums}"),
        (version_key("drums"), "dg:version:{drums}"),
        (api_key_key("e" * 64), f"dg:key:{{{'e' * 64}}}"),
        (idempotency_record_key("f" * 64), f"dg:idem:{{{'f' * 64}}}"),
        (PRODUCTS_KEY, "dg:products"),
        (TOKEN_PATTERN, "dg:token:{*}"),
        (API_KEY_PATTERN, "dg:key:*"),
    ],
)
def test_names_never_change(name: str, expected: str) -> None:
    assert name == expected


@pytest.mark.parametrize(
    ("key", "servers", "number"),
    [
        # the slots are those of `CLUSTER KEYSLOT`
        ("foo", 2, 1),  # slot 12182
        ("bar", 2, 0),  # slot 5061
        ("foo", 3, 2),
        ("bar", 4, 1),
        ("{foo}:anything", 2, 1),
        (b"foo", 2, 1),
        ("foo", 1, 0),
    ],
)
def test_which_server_holds_a_key(key: str | bytes, servers: int, number: int) -> None:
    assert server_number(key, servers) == number


@given(st.text(alphabet="0123456789abcdef", min_size=32, max_size=32), st.integers(1, 16))
def test_a_token_id_routes_as_the_tokens_key(identifier: str, servers: int) -> None:
    number = server_number(token_key(identifier), servers)
    assert number == server_number(identifier, servers)
    assert 0 <= number < servers


@given(st.from_regex(r"\A[A-Za-z0-9][A-Za-z0-9._-]{0,127}\Z"), st.integers(1, 16))
def test_a_product_and_its_versions_are_on_one_server(identifier: str, servers: int) -> None:
    assert server_number(product_key(identifier), servers) == server_number(version_key(identifier), servers)
