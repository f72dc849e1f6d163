"""`token create` limits a link, and `token show` says how."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.console import Gateway


@pytest.mark.slow
def test_limits_are_set_and_shown(gateway: Gateway, files: Path) -> None:
    gateway.run("product", "add", "drums", "1.0", files)
    made = gateway.json(
        "token", "create", "drums", "--max-connections", "4", "--max-rate", "2 MiB",
        "--max-connection-rate", "500000", "--bind-to", "network",
    )  # fmt: skip
    names = ("maxConnections", "maxRate", "maxConnectionRate", "bindTo")
    assert [made[name] for name in names] == [4, 2 << 20, 500_000, "network"]
    shown = gateway.run("token", "show", made["tokenId"]).stdout
    for line in (("connections", "4"), ("rate", "2.0 MiB/s"), ("bound to", "network")):
        assert any(each.split()[-1] == line[1].split()[-1] and line[0] in each for each in shown.splitlines())
    free = gateway.json("token", "create", "drums")
    assert [free[name] for name in names] == [None] * 4


@pytest.mark.slow
def test_limits_are_changed(gateway: Gateway, files: Path) -> None:
    gateway.run("product", "add", "drums", "1.0", files)
    identifier = gateway.json("token", "create", "drums", "--max-rate", "2 MiB")["tokenId"]
    changed = gateway.json(
        "token", "extend", identifier, "--max-connections", "3", "--max-rate", "none", "--bind-to", "address"
    )
    names = ("maxConnections", "maxRate", "maxConnectionRate", "bindTo")
    assert [changed[name] for name in names] == [3, None, None, "address"]
    for option, value in (("--max-connections", "0"), ("--max-connections", "x"), ("--max-rate", "no")):
        assert gateway.fault("token", "extend", identifier, option, value).startswith(f"{option}: ")


@pytest.mark.parametrize(
    ("option", "value"), [("--max-rate", "fast"), ("--max-rate", "0"), ("--max-connection-rate", "-1")]
)
def test_what_is_no_limit_is_refused(gateway: Gateway, option: str, value: str) -> None:
    line = gateway.fault("token", "create", "drums", f"{option}={value}")
    assert line.startswith(f"{option}: ")
