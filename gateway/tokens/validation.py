"""The rules for the customer, the limit and the metadata of a token, for the APIs and the commands alike.

Every check returns all faults that it finds, pairs of field and message, so that they are reported together.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Final

from gateway.products.validation import Fault, is_text

MAX_DOWNLOADS: Final = 1_000_000
MAX_METADATA: Final = 4096
"""Bytes of a token's metadata as JSON in UTF-8. The store keeps them in memory."""
MAX_NUMBER: Final = 2**53 - 1
"""The largest integer that every reader of JSON can represent exactly: RFC 8259 section 6."""
MAX_EMAIL: Final = 254
"""Characters of an address: RFC 5321 section 4.5.3.1.3, without the angle brackets."""
EMAIL_PATTERN: Final = r"^[^@\x00-\x20\x7f-\xa0]+@[^@\x00-\x20\x7f-\xa0]+$"
"""It names the white space itself: Python, pydantic and the callers' languages differ in what `\\s` means."""
_EMAIL: Final = re.compile(EMAIL_PATTERN[1:-1])


def is_email(text: str) -> bool:
    """Whether the text looks like an address: one @ between other characters, and no space."""
    return len(text) <= MAX_EMAIL and _EMAIL.fullmatch(text) is not None


def metadata_faults(metadata: Mapping[str, object]) -> list[Fault]:
    """What is wrong with a token's metadata: a flat object of text, numbers and booleans, 4 KiB as JSON."""
    faults: list[Fault] = []
    for name, value in metadata.items():
        if not is_text(name):
            faults.append(("metadata", "has a name with a character that cannot be stored"))
        elif not isinstance(value, str | int | float):
            faults.append((f"metadata.{name}", "must be a string, a number or a boolean"))
        elif isinstance(value, str) and not is_text(value):
            faults.append((f"metadata.{name}", "has a character that cannot be stored"))
        elif not isinstance(value, str) and not abs(value) <= MAX_NUMBER:
            faults.append((f"metadata.{name}", f"must be a number between -{MAX_NUMBER} and {MAX_NUMBER}"))
    if not faults and len(encode_metadata(metadata)) > MAX_METADATA:
        faults.append(("metadata", f"must be at most {MAX_METADATA} bytes as JSON"))
    return faults


def encode_metadata(metadata: Mapping[str, object]) -> bytes:
    """The metadata as the store holds them: JSON in UTF-8 without spaces."""
    return json.dumps(metadata, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()
