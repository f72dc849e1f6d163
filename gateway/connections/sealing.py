"""Secrets of connections and of outgoing webhooks at rest: encrypted with a key that is not in the database.

The key is 32 random bytes in a file below `data`, mode 0600, made when the first secret is stored; or it is
a setting. What was sealed with the key before that one, which is another setting or that file, is opened,
too, and is sealed anew by the web process. Sealed is
JSON, by AES-256-GCM with a random nonce and the row's id as associated data: a sealed value put into
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

from gateway.config.secret_keys import KEY_BYTES, load_key
from gateway.config.settings import Settings
from gateway.errors import DatabaseError
from gateway.runtime.system_errors import advise

KEY_FILE: Final = "secrets.key"
NONCE_BYTES: Final = 12
"""As NIST SP 800-38D recommends for GCM. A random nonce is safe for 2^32 values of one key."""


class SealError(DatabaseError):
    """Secrets cannot be stored or read. Its text says what to do."""

    def __init__(self, text: str) -> None:
        super().__init__("secrets", text)


class SecretBox:
    """Seals and opens values. The keys are read when they are needed first."""

    def __init__(self, folder: Path, key: str | None = None, old_key: str | None = None) -> None:
        """folder, key, old_key: the settings `data`, `secrets_key` and `secrets_old_key`."""
        self.path: Final = folder / KEY_FILE
        self._key: Final = key
        self._old_key: Final = old_key
        self._ciphers: list[AESGCM] = []

    @classmethod
    def of(cls, settings: Settings) -> SecretBox:
        """The box of the settings."""
        return cls(settings.data, settings.secrets_key, settings.secrets_old_key)

    def seal(self, value: dict[str, Any], name: str) -> bytes:
        """Encrypt a value of JSON. name: of the row that it is for. Raises SealError."""
        nonce = secrets.token_bytes(NONCE_BYTES)
        cipher = self._open_keys(make=True)[0]
        return nonce + cipher.encrypt(nonce, json.dumps(value).encode(), name.encode())

    def open(self, sealed: bytes, name: str) -> dict[str, Any]:
        """Decrypt what `seal` made for this row, with this key or the old one. Raises SealError."""
        return self._open(sealed, name)[0]

    def is_current(self, sealed: bytes, name: str) -> bool:
        """Whether a value was sealed with the key that is used now. Raises SealError."""
        return self._open(sealed, name)[1] == 0

    def _open(self, sealed: bytes, name: str) -> tuple[dict[str, Any], int]:
        for place, cipher in enumerate(self._open_keys(make=False)):
            with contextlib.suppress(InvalidTag, ValueError):
                content = cipher.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], name.encode())
                value: dict[str, Any] = json.loads(content)
                return value, place
        raise SealError(
            "The secrets of a connection or webhook were stored with another key than "
            f"{self.label}. Give that key back, as `secrets_old_key` if it was replaced, or give the "
            "connection its secrets again (a webhook: `webhook rotate`)."
        )

    @property
    def label(self) -> str:
        """Names the key to people."""
        return f"that in {self.path}" if self._key is None else "the setting `secrets_key`"

    def _open_keys(self, *, make: bool) -> list[AESGCM]:
        """The ciphers, the one that seals first."""
        if not self._ciphers:
            key = self._key
            ciphers = [self._of_file(make=make) if key is None else _of_setting("secrets_key", key)]
            if self._old_key is not None:
                ciphers.append(_of_setting("secrets_old_key", self._old_key))
            if self._key is not None and self.path.exists():  # it was the key before there was a setting
                ciphers.append(self._of_file(make=False))
            self._ciphers = ciphers
        return self._ciphers

    def _of_file(self, *, make: bool) -> AESGCM:
        try:
            return AESGCM(self._read(make=make))
        except OSError as error:
            text = f"The key of the secrets, {self.path}, cannot be used: {advise(error)}."
            raise SealError(text) from None
        except ValueError:
            raise SealError(f"{self.path} is damaged: it must have {KEY_BYTES} bytes. Put it back.") from None

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


def _of_setting(name: str, value: str) -> AESGCM:
    try:
        return AESGCM(load_key(value))
    except OSError as error:
        raise SealError(f"The file of the setting {name} cannot be used: {advise(error)}.") from None
    except ValueError as error:
        raise SealError(f"The file of the setting {name} {error}.") from None
