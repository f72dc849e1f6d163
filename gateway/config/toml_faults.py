"""What is wrong with a TOML file, in our words. The texts of `tomllib` differ between versions of Python."""

from __future__ import annotations

import re
from typing import Final

_PLACE: Final = re.compile(r" \(at (line \d+, column \d+|end of document)\)$")
_MEANINGS: Final = (
    ("Expected '=' after a key", "a setting is written as key = value"),
    ("Invalid value", "this is no value; text needs quotation marks"),
    ("Cannot overwrite a value", "this key is there twice; remove one"),
    ("Cannot declare", "this table is there twice; write its keys together"),
    ("Cannot mutate immutable", "this table is complete already; add the key between its braces"),
    ("Duplicate inline table key", "this key is there twice; remove one"),
    ("Cannot redefine namespace", "this key is there twice; remove one"),
    ("Expected newline or end of document", "a setting ends with its line; write the rest on another line"),
    ("Expected ']' at the end of a table", "the name of a table ends with ]"),
    ("Expected ']]' at the end of an array", "the name of such a table ends with ]]"),
    ("Unclosed array", "this list has no end; close it with ]"),
    ("Unclosed inline table", "this table has no end; close it with }"),
    ("Unterminated string", "this text has no end; close it with a quotation mark"),
    ('Expected "\'"', "this text has no end; close it with a quotation mark"),
    ("Illegal character", "this character may not be here; a text ends on its own line"),
    ("Unescaped '\\'", "a backslash in a text is written twice, or the text in single quotation marks"),
    ("Invalid initial character for a key", "a key begins with a letter, or is in quotation marks"),
    ("Invalid statement", "a line is key = value, or [table]"),
)
"""How a text of tomllib begins, and what to do."""


def explain_toml(error: ValueError) -> str:
    """Where a TOML file is wrong and what to do about it; error: of `tomllib.loads`, or of the decoding."""
    if isinstance(error, UnicodeDecodeError):
        return f"byte {error.start + 1} is not UTF-8; save the file as UTF-8"
    text = str(error)
    found = _PLACE.search(text)
    place = found[1] if found else "somewhere"
    place = place.replace("end of document", "at its end")
    meaning = next((words for start, words in _MEANINGS if text.startswith(start)), "this is not TOML")
    return f"{place}: {meaning}"
