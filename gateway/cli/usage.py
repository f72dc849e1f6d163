"""What is wrong with a command line, in our own words: one line for each kind of typer's errors.

The library's sentences ("Input should be a valid integer, unable to parse string as an integer") change
with its version. `describe_usage` reads what an error carries, and never shows its text. Where an error
carries nothing but a text, `_SENTENCES` finds the words of the user in it. FALLBACK is shown instead of a
text that is not known there.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from typing import Any, Final

from gateway.config.messages import describe

FALLBACK: Final = "this command line cannot be understood"
SHOWN_CHARACTERS: Final = 80
"""How much of a user's word is shown."""

_SENTENCES: Final[tuple[tuple[re.Pattern[str], str], ...]] = tuple(
    (re.compile(pattern, re.DOTALL), ours)
    for pattern, ours in (
        (r"No such command '(.*)'\..* Did you mean (.*)\?", "there is no command {0!r}: did you mean {1}?"),
        (r"No such command '(.*)'\.", "there is no command {0!r}"),
        (
            r"Got unexpected extra argument\(s\) \((.*)\)",
            "{0!r} is too much: the command takes fewer arguments",
        ),
        (r"Missing command\.", "a command is missing"),
        (r"Option '(.*)' requires .*", "{0} needs a value: write it after {0}"),
        (r"Option '(.*)' does not take a value\.", "{0} takes no value: write {0} alone"),
    )
)
_CHOICES: Final = re.compile(r".*is not one of (.*?)\.?", re.DOTALL)


def describe_usage(error: Any, program: str) -> str:
    """Return one line that says what is wrong with the command line, and which --help tells more.

    error: a TyperException, of any kind.
    """
    context = getattr(error, "ctx", None)
    path = context.command_path if context else program
    return f"{_describe(error, context)}. Try: {path} --help".replace("?. Try", "? Try")


def _describe(error: Any, context: Any) -> str:
    parameter = getattr(error, "param", None)
    kind = type(error).__name__
    if kind == "NoSuchOption":
        return _no_such_option(error.option_name, context)
    if parameter is None:
        for pattern, ours in _SENTENCES:
            if match := pattern.fullmatch(error.message):
                return ours.format(*(_cut(text) for text in match.groups()))
        return FALLBACK
    name = _name(parameter)
    if kind == "MissingParameter":
        return f"{name} is missing: it is required"
    details: list[Mapping[str, Any]] = getattr(error.__cause__, "errors", list)()
    return f"{name} {_bad_value(details[0]) if details else 'has a value that is not allowed here'}"


def _no_such_option(option: str, context: Any) -> str:
    known = [name for each in context.command.params for name in each.opts] if context else []
    near = difflib.get_close_matches(option, known, 1)
    return f"there is no option {_cut(option)}" + (f": did you mean {near[0]}?" if near else "")


def _name(parameter: Any) -> str:
    """The name by which the user knows an option or an argument."""
    is_option = parameter.param_type_name == "option"
    return str(parameter.opts[0] if is_option else parameter.metavar or parameter.name.upper())


def _bad_value(detail: Mapping[str, Any]) -> str:
    """Say what is wrong with a value. detail: an error of pydantic."""
    given = f", not {_cut(detail['input'])!r}" if isinstance(detail.get("input"), str) else ""
    if detail["type"] == "value_error":  # typer's own, for a choice
        choices = _CHOICES.fullmatch(str(detail["ctx"]["error"]))
        names = re.findall(r"'([^']*)'", choices[1]) if choices else []
        return (f"must be {' or '.join(names)}" if names else "has a value that is not allowed here") + given
    return describe(detail) + given


def _cut(text: str) -> str:
    return text[:SHOWN_CHARACTERS]
