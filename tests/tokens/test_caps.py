"""The line of a token's limits: what is written is read back, and what has no sense is passed over."""

from __future__ import annotations

import pytest

from gateway.tokens.caps import MAX_CONNECTIONS, MAX_RATE, Caps, cap_faults, read_caps


@pytest.mark.parametrize(
    ("caps", "text"),
    [
        (Caps(4), "connections=4"),
        (Caps(0, 10**12), "rate=1000000000000"),
        (Caps(1, 2, 3, "address"), "connections=1 rate=2 connection_rate=3 binding=address"),
        (Caps(binding="network"), "binding=network"),
    ],
)
def test_what_is_written_is_read(caps: Caps, text: str) -> None:
    assert caps.encode() == text
    assert read_caps(text.encode()) == caps


@pytest.mark.parametrize(
    "text",
    [None, b"", b"connections=0", b"rate=-1", b"rate=1e3", b"binding=planet", b"\xff=1", b"rate=\xd9\xa1"],
)
def test_what_limits_nothing(text: bytes | None) -> None:
    assert Caps().encode() == ""
    assert read_caps(text) is None


def test_the_settings_decide_what_a_token_does_not_say() -> None:
    default = Caps(9, 8, 7, "address")
    assert read_caps(None, default) == default
    assert read_caps(b"rate=5 binding=network", default) == Caps(9, 5, 7, "network")


@pytest.mark.parametrize(
    ("caps", "fields"),
    [
        (None, []),
        (Caps(1, 1, 1, "network"), []),
        (Caps(MAX_CONNECTIONS, MAX_RATE, MAX_RATE, "address"), []),
        (Caps(MAX_CONNECTIONS + 1), ["maxConnections"]),
        (Caps(-1, -1, -1, "x"), ["maxConnections", "maxRate", "maxConnectionRate", "bindTo"]),
        (Caps(0, MAX_RATE + 1), ["maxRate"]),
    ],
)
def test_what_is_wrong_is_named(caps: Caps | None, fields: list[str]) -> None:
    assert [field for field, _ in cap_faults(caps)] == fields
