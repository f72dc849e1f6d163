"""Which share of the requests is traced, and where to."""

from __future__ import annotations

import pytest

from gateway.config.settings import Settings, load
from gateway.errors import ConfigurationError


@pytest.mark.parametrize(
    ("text", "share"), [("0", 0.0), ("1", 1.0), (" 0.01 ", 0.01), ("1e-3", 0.001), ("0.5", 0.5)]
)
def test_a_share(text: str, share: float) -> None:
    assert load({"traces_share": text}, None, {}).traces_share == share


@pytest.mark.parametrize("text", ["-0.1", "1.1", "nan", "inf", "10 %", "much", "true"])
def test_what_is_no_share(text: str) -> None:
    with pytest.raises(ConfigurationError, match=r"^GATEWAY_TRACES_SHARE: must be a number from 0 to 1"):
        load({}, None, {"GATEWAY_TRACES_SHARE": text})


def test_the_collector() -> None:
    assert (Settings().traces_share, Settings().traces_endpoint) == (0.0, "http://127.0.0.1:4318")
    assert (
        load({"traces_endpoint": "https://c.example/otlp/"}, None, {}).traces_endpoint
        == "https://c.example/otlp"
    )
    with pytest.raises(ConfigurationError, match="GATEWAY_TRACES_ENDPOINT"):
        load({}, None, {"GATEWAY_TRACES_ENDPOINT": "grpc://c"})
