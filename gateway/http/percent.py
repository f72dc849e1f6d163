"""Percent-encoding (RFC 3986 section 2.1), at a cost that no text can raise by much.

`urllib.parse.unquote` makes a piece for each percent sign. So 16 KiB of `%` cost it 10 ms, which a client
can ask for in each field of each request. Here a whole run of encoded bytes is decoded at once, and a percent
sign that begins no encoded byte costs nothing. Callers cut a text before they decode it.
"""

from __future__ import annotations

import re
from typing import Final

_BEYOND_ASCII: Final = re.compile(rb"[\x80-\xff]+")
_RUN: Final = re.compile(r"(?:%[0-9A-Fa-f]{2})+")


def percent_decode(text: str) -> str:
    """Decode once. Encoded bytes that are not UTF-8 become lone surrogates; nothing else changes."""
    return _RUN.sub(_decode_run, text) if "%" in text else text


def percent_encode(data: bytes) -> bytes:
    """Encode every byte beyond ASCII. Some programs do not (RFC 3987 section 3.1 says how to read that)."""
    return data if data.isascii() else _BEYOND_ASCII.sub(_encode_run, data)


def _encode_run(run: re.Match[bytes]) -> bytes:
    return b"%" + run[0].hex("%").upper().encode()


def _decode_run(run: re.Match[str]) -> str:
    return bytes.fromhex(run[0].replace("%", "")).decode("utf-8", "surrogateescape")
