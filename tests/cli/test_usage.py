"""Wrong usage of every command is told in our own words, whatever the library of the command line says."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import typer.main

from gateway.cli import app
from gateway.cli.usage import FALLBACK, describe_usage
from tests.support.console import Fault

LIBRARY = (
    "Input should",
    "No such",
    "Invalid value",
    "Missing",
    "Got unexpected",
    "requires an",
    "is not one of",
)
"""How sentences of the library begin, or what they have."""


def commands(group: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Each command and group, with the words that name it."""
    yield path, group
    for name, command in getattr(group, "commands", {}).items():
        yield from commands(command, (*path, name))


COMMANDS = dict(commands(typer.main.get_command(app.root)))


def wrong(path: tuple[str, ...], command: Any) -> Iterator[tuple[str, ...]]:
    """Command lines that are wrong in every way that this command can be used wrongly."""
    yield (*path, "--no-such-option")
    yield (*path, "--debu")
    if hasattr(command, "commands"):
        yield (*path, "no-such-command")
        return
    arguments = [each for each in command.params if each.param_type_name == "argument"]
    given = tuple("x" for each in arguments)
    if any(each.required for each in arguments):
        yield path
    if all(each.nargs == 1 for each in arguments):
        yield (*path, *given, "one", "more")
    for option in command.params:
        if option.param_type_name != "option":
            continue
        if option.is_flag:
            yield (*path, *given, f"{option.opts[0]}=1")
            continue
        yield (*path, *given, option.opts[0])
        if option.name in ("limit", "role", "status", "max_downloads"):
            yield (*path, *given, option.opts[0], "wrong")


QUICK = ((), ("product",), ("product", "add"), ("token", "create"))
"""Commands that `make test` tries. The others are slow."""


@pytest.mark.parametrize(
    "path",
    [
        pytest.param(path, id=" ".join(path), marks=() if path in QUICK else pytest.mark.slow)
        for path in COMMANDS
    ],
)
def test_wrong_usage_is_one_line_of_ours(path: tuple[str, ...], complain: Callable[..., Fault]) -> None:
    for line in wrong(path, COMMANDS[path]):
        fault = complain(*line)
        assert fault.code == 2, line
        [text] = fault.lines
        assert " Try: download-gateway" in text
        assert text.endswith(" --help")
        assert FALLBACK not in text, line
        assert not any(words in text for words in LIBRARY), text


def test_a_sentence_that_is_not_known_is_not_shown() -> None:
    error = typer.BadParameter("Input should be something new")
    assert describe_usage(error, "download-gateway") == f"{FALLBACK}. Try: download-gateway --help"
