"""Cells of a CSV file that no spreadsheet takes for a formula. Pure.

A cell that begins with one of FORMULA_STARTS may be computed when the file is opened, and what a client sends
(its User-Agent) or a customer types (a name) ends up in cells. An apostrophe before it makes it a text.
(https://owasp.org/www-community/attacks/CSV_Injection)
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable
from typing import Final

FORMULA_STARTS: Final = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


def cell(value: str | int | None) -> str:
    """The text of a cell: a number as it is, a text so that it stays one, and nothing for None."""
    if value is None:
        return ""
    if isinstance(value, int):
        return str(value)
    text = _CONTROL.sub(" ", value)
    return f"'{text}" if text.lstrip(" ").startswith(FORMULA_STARTS) else text


def lines(rows: Iterable[Iterable[str | int | None]]) -> bytes:
    """Rows as CSV (RFC 4180) in UTF-8, each with its CRLF."""
    text = io.StringIO()
    csv.writer(text).writerows([[cell(value) for value in row] for row in rows])
    return text.getvalue().encode("utf-8", "replace")
