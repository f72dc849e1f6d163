"""Secrets of connections at rest: encrypted with a key that is not in the database.

The key is 32 random bytes in a file below `data`, mode 0600, made when the first secret is stored. Sealed is
JSON, by AES-256-GCM with a random nonce and the connection's id as associated data: a sealed value put into
another row cannot be opened. A copy of the database alone tells nothing.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
from pathlib import Path
from typing import Any, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from gateway.errors import DatabaseError
from gateway.runtime.system_errors import advise

KEY_FILE: Final = "secrets.key"
KEY_BYTES: Final = 32
NONCE_BYTES: Final = 12
"""As NIST SP 800-38D recommends for GCM. A random nonce is safe for 2^32 values of one key."""


class SealError(DatabaseError):
    """Secrets cannot be stored or read. Its text says what to do."""

    def __init__(self, text: str) -> None:
        super().__init__("secrets", text)


class SecretBox:
    """Seals and opens values. The key is read when it is needed first."""

    def __init__(self, folder: Path) -> None:
        """folder: the setting `data`."""
        self.path: Final = folder / KEY_FILE
        self._cipher: AESGCM | None = None

    def seal(self, value: dict[str, Any], name: str) -> bytes:
        """Encrypt a value of JSON. name: of the row that it is for. Raises SealError."""
        nonce = secrets.token_bytes(NONCE_BYTES)
        return nonce + self._open_key(make=True).encrypt(nonce, json.dumps(value).encode(), name.encode())

    def open(self, sealed: bytes, name: str) -> dict[str, Any]:
        """Decrypt what `seal` made for this row. Raises SealError."""
        cipher = self._open_key(make=False)
        try:
            content = cipher.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], name.encode())
        except (InvalidTag, ValueError):
            raise SealError(
                f"The secrets of a connection were stored with another key than that in {self.path}. Put "
                "that file back from a backup, or give the connection its secrets again."
            ) from None
        value: dict[str, Any] = json.loads(content)
        return value

    def _open_key(self, *, make: bool) -> AESGCM:
        if self._cipher is None:
            try:
                self._cipher = AESGCM(self._read(make=make))
            except OSError as error:
                text = f"The key of the secrets, {self.path}, cannot be used: {advise(error)}."
                raise SealError(text) from None
            except ValueError:
                raise SealError(
                    f"{self.path} is damaged: it must have {KEY_BYTES} bytes. Put it back."
                ) from None
        return self._cipher

    def _read(self, *, make: bool) -> bytes:
        try:
            return self._checked()
        except FileNotFoundError:
            if not make:
                raise
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        new = self.path.with_name(f".{KEY_FILE}.{secrets.token_hex(8)}")
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(secrets.token_bytes(KEY_BYTES))
                file.flush()
                os.fsync(file.fileno())
            with contextlib.suppress(FileExistsError):  # another process was first: its key counts
                os.link(new, self.path)
        finally:
            os.unlink(new)
        folder = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
        return self._checked()

    def _checked(self) -> bytes:
        key = self.path.read_bytes()
        if len(key) != KEY_BYTES:
            raise ValueError("damaged")
        return key
