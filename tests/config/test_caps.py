"""The limits of clients and tokens are settings like all others."""

from __future__ import annotations

import pytest

from gateway.config.caps import CapSettings
from gateway.config.settings import Settings, load
from gateway.errors import ConfigurationError


@pytest.mark.parametrize("name", CapSettings.model_fields)
def test_each_limit_is_read_and_checked(name: str) -> None:
    assert getattr(load({name: "0"}, None, {}), name) in (0, None)
    with pytest.raises(ConfigurationError, match=f"GATEWAY_{name.upper()}: must be "):
        load({}, None, {f"GATEWAY_{name.upper()}": "-1"})


def test_what_the_contract_says() -> None:
    assert Settings().max_attempts == 600
