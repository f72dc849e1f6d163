"""The help: each command has one with an example, every setting has its flag, and no secret shows."""

from __future__ import annotations

import re

import pytest
import typer
from typer.main import get_command

from gateway import __version__
from gateway.cli import main
from gateway.cli.app import root
from gateway.cli.options import EVERY
from gateway.config.sources import flag_name
from gateway.supervisor.services import SERVICES
from tests.support.console import Gateway

LASTING = ("up", *(service.command for service in SERVICES))
"""The commands that run until they are stopped."""


def command_paths() -> list[tuple[str, ...]]:
    found: list[tuple[str, ...]] = []
    for name, command in get_command(root).commands.items():  # type: ignore[attr-defined]
        inner = getattr(command, "commands", None)
        found += [(name, other) for other in inner or ()]
        if not inner or command.invoke_without_command:
            found.append((name,))
    return found


def test_these_are_the_commands() -> None:
    assert {" ".join(path) for path in command_paths()} == {
        "up", "serve", "serve-mint", "serve-web", "check", "audit",
        "product add", "product list", "product show",
        "product activate", "product rename", "product archive", "product restore", "product remove",
        "product relocate",
        "token create", "token show", "token list", "token revoke", "token extend",
        "key create", "key list", "key revoke",
        "order add", "order import", "order list", "order show",
        "customer list", "customer show", "customer export", "customer erase", "customer move",
        "entitlement list", "entitlement add", "entitlement override", "entitlement show", "entitlement link",
        "connection add", "connection list", "connection show", "connection change", "connection remove",
        "connection test", "connection events", "connection replay",
        "connection mappings", "connection map", "connection unmap", "unmapped",
        "database status", "database migrate", "backup", "restore",
        "usage", "usage export", "usage never-downloaded", "usage shared",
        "token receipt", "token signing-key",
        "webhook add", "webhook list", "webhook show", "webhook change", "webhook rotate", "webhook enable",
        "webhook disable", "webhook remove", "webhook test", "webhook deliveries", "webhook replay",
        "mail list", "mail resend", "mail test",
        "user list", "user invite", "user reset", "user remove",
    }  # fmt: skip


@pytest.mark.parametrize("path", command_paths(), ids=" ".join)
def test_each_command_has_help(
    path: tuple[str, ...], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GATEWAY_REDIS_URL", "redis://:hunter2@h")
    assert main([*path, "--help"]) == 0
    output = capsys.readouterr()
    assert f"Example: download-gateway {' '.join(path)}" in re.sub(r"\s+", " ", output.out)
    assert "--config" in output.out
    assert "--data" in output.out
    assert "--redis-url" in output.out
    assert ("--json" in output.out) == (path[0] not in LASTING)
    assert "hunter2" not in output.out
    assert output.err == ""


@pytest.mark.parametrize("name", [*LASTING, "check"])
def test_every_setting_is_a_flag(name: str) -> None:
    command: typer.core.TyperCommand = get_command(root).commands[name]  # type: ignore[attr-defined]
    flags = {flag for parameter in command.params for flag in parameter.opts}
    assert {flag_name(setting) for setting in EVERY} <= flags


@pytest.mark.slow
def test_the_program_alone_shows_its_commands(gateway: Gateway) -> None:
    assert "serve-mint" in gateway.run().stdout
    assert gateway.run("--version").stdout == f"download-gateway {__version__}\n"
    assert "revoke" in gateway.run("token", code=2).stdout
