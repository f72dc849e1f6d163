"""The limits of clients and tokens are settings like all others."""

from __future__ import annotations

import pytest

from gateway.config.caps import CapSettings
from gateway.config.settings import Settings, load
from gateway.errors import ConfigurationError


@pytest.mark.parametrize("name", CapSettings.model_fields)
def test_each_limit_is_read_and_checked(name: str) -> None:
    nothing = "none" if name == "token_binding" else "0"
    assert getattr(load({name: nothing}, None, {}), name) in (0, "none")
    with pytest.raises(ConfigurationError, match=rf"^GATEWAY_{name.upper()}: (must be |'-1' is not a size)"):
        load({}, None, {f"GATEWAY_{name.upper()}": "-1"})


def test_what_the_contract_says() -> None:
    assert Settings().max_attempts == 600
