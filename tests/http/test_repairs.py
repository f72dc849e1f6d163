"""What is glued to a link: tokens and names that are found in spite of it, and texts that have none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.http.repairs import MAX_GLUED, MAX_TEXT, find_token_alone, find_tokens, likely_names
from tests.support.rows import each_row

TOKEN = "ct_" + "Az09-_" * 7 + "x"
ENDS_IN_DASH = TOKEN[:-1] + "-"
OTHER = "ct_" + "b" * 43

GLUED = [
    ("nothing", "{}"),
    ("a full stop", "{}."),
    ("a comma", "{},"),
    ("colons and semicolons", "{}:;"),
    ("marks of a question", "{}?!"),
    ("an ellipsis", "{}…"),
    ("three stops", "{}..."),
    ("a bracket", "{})"),
    ("brackets", "({})"),
    ("square brackets", "[{}]"),
    ("braces", "{{{}}}"),
    ("angle brackets", "<{}>"),
    ("an angle bracket and a stop", "{}>."),
    ("quotes", '"{}"'),
    ("apostrophes", "'{}'"),
    ("typographic quotes", "“{}”"),
    ("German quotes", "„{}“"),
    ("guillemets", "«{}»"),
    ("guillemets with a space", "«\u00a0{}\u00a0»"),
    ("a backtick", "`{}`"),
    ("Markdown, bold", "**{}**"),
    ("Markdown, emphasis", "_{}_"),
    ("Markdown, a link", "{})**."),
    ("an underscore", "{}_"),
    ("dashes", "{}--"),
    ("an em dash", "{}—"),
    ("a backslash", "{}\\"),
    ("a pipe of a table", "| {} |"),
    ("spaces", " {} "),
    ("a no-break space", "{}\u00a0"),
    ("an ideographic space", "{}\u3000"),
    ("a tab", "{}\t"),
    ("a line break", "{}\r\n"),
    ("a zero-width space", "{}\u200b"),
    ("a zero-width space before", "\u200b{}"),
    ("a word joiner", "{}\u2060"),
    ("a soft hyphen", "{}\u00ad"),
    ("a byte order mark", "\ufeff{}"),
    ("marks of direction", "\u202a{}\u202c\u200e"),
    ("encoded once more", "{}%2E"),
    ("encoded twice more", "{}%25252C"),
    ("a space encoded once more", "{}%20"),
    ("a zero-width space encoded once more", "{}%E2%80%8B"),
    ("a line break encoded once more", "{}%0D%0A"),
    ("not UTF-8", "{}\udcbb\udca0"),
]
GLUED_TO_VALUES = [
    ("the next words", "{} and so on"),
    ("the words before", "Your link: {}"),
    ("an entity", "{}&gt;"),
    ("an entity encoded once more", "{}%26quot%3B"),
    ("a fragment", "{}#top"),
    ("the next link", "{}, https://shop.example/"),
    ("quoted-printable", "3D{}"),
    ("another word for it", "token={}"),
    ("a scheme", "Bearer {}"),
]
BROKEN_UP = ["\r\n", "%0D%0A", "%0A", " ", "=\r\n", "=%0D%0A", "\r\n> ", "\u200b", "%C2%AD", "\u00a0", "="]

NO_TOKENS = [
    "",
    "ct_",
    "abc",
    OTHER[:-1],
    OTHER + "A",
    OTHER + "_A",
    "A" + OTHER,
    OTHER.upper(),
    OTHER + "\0",
    "\x1b" + OTHER,
    "gk_" + "b" * 43,
    "ct_" + "é" * 43,
    "%" * MAX_TEXT,
    " " * MAX_TEXT + OTHER,
]


@each_row("glued", [text for _, text in GLUED], ids=[name for name, _ in GLUED])
@each_row("token", [TOKEN, ENDS_IN_DASH, OTHER])
def test_a_token_is_found_in_what_is_glued_to_it(glued: str, token: str) -> None:
    text = glued.format(token)
    assert find_tokens(text) == {token}
    assert find_token_alone(text) == token


@pytest.mark.parametrize("glued", [text for _, text in GLUED_TO_VALUES], ids=[c[0] for c in GLUED_TO_VALUES])
def test_a_parameter_may_have_words_glued(glued: str) -> None:
    assert find_tokens(glued.format(OTHER)) == {OTHER}


@each_row("broken", BROKEN_UP)
@each_row("end", ["", ".", "\r\n"])
def test_a_token_may_be_broken_up(broken: str, end: str) -> None:
    text = OTHER[:20] + broken + OTHER[20:] + end
    assert find_tokens(text) == {OTHER}
    assert find_token_alone(text) == OTHER


@each_row("text", NO_TOKENS)
def test_other_texts_have_no_token(text: str) -> None:
    assert find_tokens(text) == frozenset()
    assert find_token_alone(text) is None


@pytest.mark.parametrize(
    "text", ["produ" + OTHER, "eyJh." + OTHER, OTHER + ".zip", "Bearer " + OTHER, OTHER + " x"]
)
def test_what_may_be_a_name_or_somebody_elses_token_is_not_ours(text: str) -> None:
    assert find_token_alone(text) is None


def test_two_tokens_are_two() -> None:
    assert find_tokens(f"{TOKEN} {OTHER}") == {TOKEN, OTHER}
    assert find_tokens(f"{OTHER}, {OTHER}") == {OTHER}


@each_row(
    ("name", "meant"),
    [
        ("kit.zip/", "kit.zip"),
        ("kit.zip.", "kit.zip"),
        ("kit.zip).", "kit.zip"),
        ("kit.zip>,", "kit.zip"),
        ("kit.zip”", "kit.zip"),
        ("kit.zip…", "kit.zip"),
        ("kit.zip**", "kit.zip"),
        ("kit.zip ", "kit.zip"),
        ("kit.zip\r\n", "kit.zip"),
        ("kit.zip\u200b", "kit.zip"),
        ("kit\u00ad.zip", "kit.zip"),
        ("kit.zip%20", "kit.zip"),
        ("kit.zip%E2%80%8B", "kit.zip"),
        ("kit%2Ezip", "kit.zip"),
        ("kit.zip&utm_source=mail", "kit.zip"),
        ("kit.zip?utm_source=mail", "kit.zip"),
        ("kit.zip&gt;", "kit.zip"),
        ("kit (1).", "kit (1)"),
        ("/kit.zip", "kit.zip"),
        ("sub//kit.zip/.", "sub/kit.zip"),
        ("a&b.zip.", "a&b.zip"),
        ("kit.zip" + "." * (MAX_GLUED - 1), "kit.zip"),
    ],
)
def test_a_name_is_found_in_what_is_glued_to_it(name: str, meant: str) -> None:
    assert meant in likely_names(name)


@pytest.mark.parametrize(
    "name", ["kit.zip", "kit.zip\0", "\x1bkit.zip.", "", "/", "kit.zip" + "." * 2 * MAX_GLUED]
)
def test_a_name_that_is_not_glued_to_anything_stays_unknown(name: str) -> None:
    assert "kit.zip" not in likely_names(name)


@given(st.text())
def test_likely_names_are_few_and_other_names(name: str) -> None:
    likely = list(likely_names(name))
    assert len(likely) <= 2 * MAX_GLUED
    assert "" not in likely
    assert name not in likely
