"""The limits of clients and tokens are settings like all others."""

from __future__ import annotations

import pytest

from gateway.config.caps import CapSettings
from gateway.config.settings import Settings, load
from gateway.errors import ConfigurationError


@pytest.mark.parametrize("name", [name for name in CapSettings.model_fields if name != "exempt_clients"])
def test_each_limit_is_read_and_checked(name: str) -> None:
    nothing = "none" if name == "token_binding" else "0"
    assert getattr(load({name: nothing}, None, {}), name) in (0, "none")
    with pytest.raises(ConfigurationError, match=rf"^GATEWAY_{name.upper()}: (must be |'-1' is not a size)"):
        load({}, None, {f"GATEWAY_{name.upper()}": "-1"})


def test_what_the_contract_says() -> None:
    assert Settings().max_attempts == 600


def test_who_is_exempt_is_a_list_of_networks() -> None:
    assert [str(each) for each in load({"exempt_clients": "10.0.0.0/8,::1"}, None, {}).exempt_clients] == [
        "10.0.0.0/8",
        "::1/128",
    ]
    with pytest.raises(ConfigurationError, match="GATEWAY_EXEMPT_CLIENTS"):
        load({}, None, {"GATEWAY_EXEMPT_CLIENTS": "office"})
