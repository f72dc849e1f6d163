"""A key of 32 bytes in a setting: as base64, as hex, or as the path of a file."""

from __future__ import annotations

import base64
import binascii
import re
from pathlib import Path
from typing import Final

KEY_BYTES: Final = 32
FORM: Final = (
    "must be 32 bytes as base64 or hex (`openssl rand -base64 32` makes them), "
    "or the path of a file that has them"
)
_HEX: Final = re.compile(r"[0-9a-fA-F]{64}", re.ASCII)
_BASE64: Final = re.compile(r"[A-Za-z0-9+/_-]{43}=?", re.ASCII)


def read_key(text: str) -> bytes | None:
    """The key that a text is; None where it is none."""
    text = text.strip()
    if _HEX.fullmatch(text):
        return bytes.fromhex(text)
    if not _BASE64.fullmatch(text):
        return None
    try:
        return base64.b64decode(text[:43].replace("-", "+").replace("_", "/") + "=", validate=True)
    except binascii.Error:
        return None


def check_key(value: object) -> str | None:
    """Read the setting: a key as it is, or a path made absolute. A fault quotes nothing of it."""
    if value is None:
        return None
    text = value.strip() if isinstance(value, str) else ""
    if read_key(text) is not None:
        return text
    if not text.startswith(("/", ".")):
        raise ValueError(FORM)
    return str(Path(text).absolute())


def load_key(setting: str) -> bytes:
    """The key of a setting, from its file if it names one. Raises OSError, ValueError (what it must be)."""
    key = read_key(setting)
    if key is not None:
        return key
    content = Path(setting).read_bytes()
    if len(content) == KEY_BYTES:
        return content
    key = read_key(content.decode("ascii", "replace"))
    if key is None:
        raise ValueError(FORM)
    return key
