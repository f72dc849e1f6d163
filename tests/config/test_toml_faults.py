"""What is wrong with a TOML file, as people read it."""

from __future__ import annotations

import tomllib

import pytest

from gateway.config.toml_faults import explain_toml
from tests.support.rows import each_row


@each_row(
    ("text", "words"),
    [
        (b"workers = four", "line 1, column 11: this is no value; text needs quotation marks"),
        (b"workers =", "at its end: this is no value; text needs quotation marks"),
        (b"a = 1\nb", "at its end: a setting is written as key = value"),
        (b"a = 1\nb c\n", "line 2, column 3: a setting is written as key = value"),
        (b"workers = 1\nworkers = 2\n", "line 2, column 12: this key is there twice; remove one"),
        (b"[mint]\n[mint]\n", "line 2, column 6: this table is there twice; write its keys together"),
        (b"a = 1 b = 2", "line 1, column 7: a setting ends with its line; write the rest on another line"),
        (b"a = [1", "at its end: this list has no end; close it with ]"),
        (b"a = 'x", "at its end: this text has no end; close it with a quotation mark"),
        (b'a = "x\n"', "line 1, column 7: this character may not be here; a text ends on its own line"),
        (b"[mint\n", "line 1, column 6: the name of a table ends with ]"),
        (b"?", "line 1, column 1: a line is key = value, or [table]"),
        (b'a = "\xff"', "byte 6 is not UTF-8; save the file as UTF-8"),
    ],
)
def test_faults_name_the_place_and_the_next_step(text: bytes, words: str) -> None:
    with pytest.raises(ValueError) as raised:  # noqa: PT011 - both kinds are subclasses
        tomllib.loads(text.decode("utf-8"))
    assert explain_toml(raised.value) == words


def test_what_is_not_known_here_has_its_place_and_not_the_librarys_text() -> None:
    assert explain_toml(ValueError("Strange (at line 7, column 1)")) == "line 7, column 1: this is not TOML"
    assert explain_toml(ValueError("Strange")) == "somewhere: this is not TOML"
