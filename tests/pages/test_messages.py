"""What other parts of the gateway say is translated: each of their messages, and no other."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from gateway.config.page_settings import LANGUAGES
from gateway.pages.messages import VALUE, match, messages_of, translate_message
from tests.support.rows import each_row

ROOT = Path(__file__).parents[2] / "gateway"
CHECKS = ROOT / "cli/checks"
SOURCES = (
    *sorted(set(CHECKS.glob("*.py")) - {CHECKS / "proxy.py", CHECKS / "certificates.py"}),
    ROOT / "cli/check.py",
    *(ROOT / "connections" / f"{name}.py" for name in ("applying", "health")),
    *(ROOT / "mail" / f"{name}.py" for name in ("composing", "desk", "files", "outbox", "sender", "smtp")),
    ROOT / "platforms/interface.py",
    *(
        ROOT / "webhooks" / f"{name}.py"
        for name in ("delivering", "desk", "endpoints", "outcomes", "sending", "urls")
    ),
    ROOT / "runtime/system_errors.py",
    ROOT / "web/dashboard/health_report.py",
)
"""The modules whose messages pages show with the filter `translated`. No page shows what the command line
finds in a front proxy and in settings that are not valid."""
PARTS = {
    *("can be made", "{} {}; there is room for its {}", "cannot be written", "is not a folder"),
    *("no tables yet", "migration {}", "PostgreSQL {}", " signs us in and", "{} network{}"),
    *("{} reached through links, such as {}", "{} ({}) with other times than before, such as {}"),
    *("{}: when a link is turned, files are compared with their SHA-256", "all as they were published: {}"),
    *("the Redis user {}", "may not use {}", "may not read and write the keys {}", "ahead of"),
    *("the store's clock is {} s {} ours; tokens expire by the store's", "append-only file"),
    *("the last {} could not be written", "{} refused", "{}, the last one {}: {}", "{} ago", "{} {}s ago"),
    *("{} could not be applied", "{} that nobody has mapped: their customers wait", "signing secret"),
    *("; it takes test events only", "there is no signing secret{}", "no event has failed, {} waiting"),
}
"""Messages that are put together of these are in the catalogue as a whole, because German has other cases."""
ELSEWHERE = {
    *("Checking files", "there is a key", "it is entered"),
    *("download-gateway check --proxy https://downloads.example.com", "download-gateway check"),
    *("--proxy: must be http://HOST or https://HOST", "no public_url and no --proxy"),
    *("there is no active product with a file to try", "A mail to sign in is in {}.eml; its link: {}"),
    *("Its link is gone; whoever needs it asks for another mail.", "There is no such mail."),
    *("mails cannot be sent now: %s", "webhooks are not delivered now: %s"),
    *("There is no such webhook.", "There are {} webhooks already; remove one of them."),
    "It is still being checked: reload this page in a moment.",
}
"""What these modules say in other places than on these pages."""


def said(source: Path) -> Iterator[str]:
    """The texts of a module, with `{}` where values stand; without docstrings and what goes to the log."""
    tree = ast.parse(source.read_text())
    silent: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            silent.add(id(node.value))
        elif isinstance(node, ast.JoinedStr):
            silent.update(id(each) for each in node.values)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).startswith(
            ("_log.", "repeat", "typer.", "text")
        ):
            silent.update(id(each) for each in ast.walk(node))
    for node in ast.walk(tree):
        if id(node) in silent:
            continue
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value
        elif isinstance(node, ast.JoinedStr):
            yield "".join(
                str(each.value) if isinstance(each, ast.Constant) else VALUE for each in node.values
            )


@cache
def all_said() -> dict[str, str]:
    """Each text, and the name of a module that says it."""
    return {text: source.name for source in SOURCES for text in said(source)}


@pytest.mark.parametrize("language", LANGUAGES[1:])
def test_every_message_is_translated(language: str) -> None:
    missing = [
        f"{name}: {text!r}"
        for text, name in all_said().items()
        if text not in PARTS | ELSEWHERE
        if " " in text.strip() and any(map(str.isalpha, text.replace(VALUE, "")))
        if translate_message(text.replace(VALUE, "x"), language) is None
    ]
    assert not missing, "\n".join(missing)


@pytest.mark.parametrize("language", LANGUAGES[1:])
def test_nothing_else_is_translated(language: str) -> None:
    shapes = [text.split(VALUE) for text in all_said()]
    for message in messages_of(language):
        text = VALUE.join(message.parts)
        assert any(match(tuple(shape), text) is not None for shape in shapes), f"nobody says {text!r}"
        assert message.translation.count(VALUE) == len(message.parts) - 1, text


@pytest.mark.parametrize("texts", [PARTS, ELSEWHERE])
def test_what_is_left_out_is_still_said(texts: set[str]) -> None:
    assert not texts - all_said().keys()


@each_row(
    ("parts", "text", "values"),
    [
        (("none",), "none", []),
        (("none",), "none ", None),
        (("", " days ago"), "3 days ago", ["3"]),
        (("", " days ago"), " days ago", None),
        (("it answered ", ""), "it answered 500", ["500"]),
        (("it answered ", ""), "it answered ", None),
        (("", ": ", ""), "a: b: c", ["a", "b: c"]),
        (("", ", ", " and ", ""), "a, b and c and d", ["a", "b", "c and d"]),
        (("", ", ", ""), ", b", None),
        (("aa", "aa"), "aaa", None),
        (("the last: ", "."), "the last: .", None),
    ],
)
def test_values_of_a_message(parts: tuple[str, ...], text: str, values: list[str] | None) -> None:
    assert match(parts, text) == values


@pytest.mark.parametrize(
    ("english", "german"),
    [
        ("it answered 500", "er hat mit 500 geantwortet"),
        ("storage main: /a {0} b does not exist", "Speicher main: /a {0} b gibt es nicht"),
        (
            "order.created, 3 days ago: failed (the connection has no API key, and without one this event "
            "proves nothing)",
            "order.created, vor 3 Tagen: gescheitert (die Verbindung hat keinen API-Schlüssel, und ohne ihn "
            "beweist dieses Ereignis nichts)",
        ),
        (
            "smtp://mail.example: the mail server answered 554 5.7.1 Denied",
            "smtp://mail.example: der Mailserver hat mit 554 5.7.1 Denied geantwortet",
        ),
        (
            "secrets: 1 signing secret; it takes test events only",
            "Geheimnisse: 1 Geheimnis für Signaturen; nur Testereignisse werden angenommen",
        ),
        ("10.0.0.1: 5", None),
        ("", None),
        ("it answered " + "9" * 2000, None),
    ],
)
def test_messages_in_german(english: str, german: str | None) -> None:
    assert translate_message(english, "de") == german
