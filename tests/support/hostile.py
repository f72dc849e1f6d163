"""The worst texts that a stranger can send, of any length: each was expensive for some reader of text."""

from __future__ import annotations

from typing import Final

UNITS: Final = (
    "%", "%25", "%41", "%c3", "%C3%A9", "%41a", "%2525", "%%41", "+", "&", "&a=", "a=1&", "%41=1&",
    "token=x&", "&file=%61", ",", ", ", "a,", '"a",', '"",', 'W/"a",', '"', "\\", '\\"', "W/", "*,", "*/*,",
    "a/b,", "text/html;q=0.1,", "a/b;a=b", ";", ";a=b", "=", " ", "\t", "0", "9", "0-0,", "0-,", "-0,",
    "-1,", "1-", "99999999-,", "::1,", "127.0.0.1,", "[::1]:1,", "0:", "for=::1,", 'for="[::1]",', "for=a;",
    "ct_", "ct_.", "gk_aaaaaaaa.", "xct_aaaaaaa.", "Mon, ", "a", "a.", "/", "//", "/../", "?", "#", "é",
    "\U0001f600", "\udcff", "Bearer ", "http://", "a:b@", "%2f", "%00", "\x7f",
)  # fmt: skip
"""Repeated to the length that is asked for."""

PREFIXES: Final = (
    "",
    "bytes=",
    'a/b;a="',
    '"',
    "Bearer ",
    "W/",
    "for=",
    'for="',
    "::1%",
    "http://",
    "%25" * 20,
)

JSON_UNITS: Final = (
    '{"a":', "[", '{"a":1,', '"a":1,', "1", "9,", "1e9,", "0.1", "-", '"\\u0061",', '"\\ud800', "\\",
    "{},", "[],", "null,", " ", "\n", '"', "\ufeff", "1e", "-0.0,",
)  # fmt: skip
"""Repeated in a body, alone or within an object or a list."""


def texts(size: int) -> list[str]:
    """Every worst text of so many characters."""
    found = []
    for prefix in PREFIXES:
        for unit in UNITS:
            text = prefix + unit * (size // len(unit) + 1)
            found.append(text[:size])
    return found


def ranges(size: int) -> str:
    """Many ranges of a large file that cannot be merged."""
    return ("bytes=" + ",".join(f"{3 * n}-{3 * n}" for n in range(size // 4)))[:size]


def bodies(size: int) -> list[bytes]:
    """Every worst body, of about so many bytes."""
    found = [
        "{" + ",".join(f'"{n % 2 or n}":1' for n in range(size // 8)) + "}",
        "{" + ",".join('"a":1' for _ in range(size // 6)) + "}",
        '{"productId":"x",' + ",".join(f'"{n}":1' for n in range(900)) + "}",
        '{"metadata":{' + ",".join(f'"{n}":1' for n in range(900)) + "}}",
        '{"metadata":{"a":' + "1" * size + "}}",
        '{"metadata":{"a":0.' + "1" * size + "}}",
        '{"metadata":{"a":1e' + "9" * size + "}}",
        '{"a":"' + "gk_" * (size // 3) + '"}',
        '{"' + "a" * size + '":1,"' + "a" * 10 + '":1}',
        "[" + ",".join("1" * 900 for _ in range(size // 900)) + "]",
    ]
    for unit in JSON_UNITS:
        text = unit * (size // len(unit))
        found += [text, "[" + text.rstrip(",") + "]", '{"a":[' + text.rstrip(",") + "]}"]
    return [text.encode("utf-8", "surrogateescape")[:size] for text in found]
