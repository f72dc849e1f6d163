"""The limits of a link, as the mint service takes them."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.secrets import token_id
from gateway.store.key_names import token_key
from gateway.tokens.caps import Caps
from tests.support.control_plane import Api, check_problem
from tests.support.rows import each_row

MINT = "/api/generate-download-url"


@pytest.mark.parametrize(
    ("fields", "caps"),
    [
        ({}, Caps()),
        ({"maxConnections": None, "maxRate": None, "maxConnectionRate": None, "bindTo": None}, Caps()),
        ({"maxConnections": 1}, Caps(1)),
        ({"maxRate": 1, "maxConnectionRate": 10**12}, Caps(0, 1, 10**12)),
        ({"maxConnections": 10_000, "bindTo": "network"}, Caps(10_000, binding="network")),
        ({"bindTo": "address", "maxDownloads": 2}, Caps(binding="address")),
    ],
)
async def test_limits_are_kept_with_the_token(api: Api, fields: dict[str, Any], caps: Caps) -> None:
    status, answer, _ = await api.ask("POST", MINT, {"productId": "drums", **fields})
    assert status == 200
    identifier = token_id(answer["downloadToken"])
    record = await api.store.tokens.get(identifier)
    assert record is not None
    assert record.caps == caps
    stored = await api.store.client.call("HEXISTS", token_key(identifier), "caps")
    assert bool(stored) is any(caps)


@each_row(
    ("field", "value"),
    [
        ("maxConnections", 0), ("maxConnections", 10_001), ("maxConnections", "4"), ("maxConnections", 1.5),
        ("maxRate", 0), ("maxRate", -1), ("maxRate", 10**12 + 1), ("maxRate", True), ("maxRate", "1 MB"),
        ("maxConnectionRate", 0), ("bindTo", "planet"), ("bindTo", 1), ("maxConnection", 1),
    ],
)  # fmt: skip
async def test_what_is_no_limit_is_named(api: Api, field: str, value: Any) -> None:
    status, answer, response = await api.ask("POST", MINT, {"productId": "drums", field: value})
    check_problem(status, answer, response.content_type)
    assert (status, [each["field"] for each in answer["errors"]]) == (400, [field])
