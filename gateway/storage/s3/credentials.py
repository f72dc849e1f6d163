"""Where a bucket's keys come from: the settings, else the chain that AWS' own tools look through.

The chain is botocore's (environment, profile, web identity, container and instance metadata), which also
renews temporary keys. It is imported when it is needed, which with keys in the settings is never.
"""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING, Any, Final

from gateway.errors import StorageError
from gateway.storage.s3.bucket import Credentials, CredentialSource

if TYPE_CHECKING:
    from gateway.config.storages import S3Settings

FRESH_SECONDS: Final = 300
"""Temporary keys are renewed when they live less: services hand out the next ones at least as early."""
AGAIN_SECONDS: Final = 10.0
"""Refused keys are searched for anew no more often, nor is a failed renewal repeated: a bucket that denies
access must not load the metadata service with every request, nor one that hangs delay each of them."""


def find_credentials(name: str, table: S3Settings) -> CredentialSource:
    """Return the source that the settings of this storage mean."""
    if table.access_key is not None and table.secret_key is not None:
        return GivenCredentials(Credentials(table.access_key, table.secret_key, table.session_token or ""))
    return ChainCredentials(name, table.profile)


class GivenCredentials:
    """Keys from the settings: there are no others."""

    def __init__(self, credentials: Credentials) -> None:
        self._credentials = credentials

    def now(self) -> Credentials:
        """Those of the settings."""
        return self._credentials

    def fetch(self, refused: Credentials | None = None) -> Credentials:  # noqa: ARG002 - nothing to do about it
        """Return the same."""
        return self._credentials


class ChainCredentials:
    """Keys that botocore finds, renewed before they expire. Any thread may use it."""

    def __init__(self, name: str, profile: str | None) -> None:
        self._name = name
        self._profile = profile
        self._held: tuple[Credentials, Any] | None = None
        self._searched = self._failed = float("-inf")
        self._lock = threading.Lock()

    def now(self) -> Credentials | None:
        """Those in memory, unless they expire within FRESH_SECONDS."""
        return self._lasting(FRESH_SECONDS)

    def fetch(self, refused: Credentials | None = None) -> Credentials:
        """Find or renew them; blocks. Refused ones are searched for from the start of the chain.

        While those in memory still work, only one caller renews them, and not again soon after it failed.
        """
        usable = self._lasting(0)
        if usable == refused:
            usable = None
        if not self._lock.acquire(blocking=usable is None):
            assert usable is not None
            return usable
        try:
            return self._fetch(usable, refused)
        finally:
            self._lock.release()

    def _fetch(self, usable: Credentials | None, refused: Credentials | None) -> Credentials:
        current = self.now()
        if current is not None and (current != refused or self._is_soon(self._searched)):
            return current
        if usable is not None and self._is_soon(self._failed):
            return usable
        try:
            found = self._search() if self._held is None or current is not None else self._held[1]
            frozen = found.get_frozen_credentials()
        except Exception as error:  # whatever botocore's providers raise, its own errors and others
            self._failed = time.monotonic()
            if usable is not None:
                return usable
            raise StorageError(f"storage {self._name}: {tell_credentials(self._name, error)}") from None
        fresh = Credentials(frozen.access_key, frozen.secret_key, frozen.token or "")
        self._held = (fresh, found)
        return fresh

    def _lasting(self, seconds: int) -> Credentials | None:
        """Return those in memory if they are good for so long; keys for good have nothing to ask."""
        if self._held is None:
            return None
        current, found = self._held
        if hasattr(found, "refresh_needed") and found.refresh_needed(seconds):
            return None
        return current

    def _is_soon(self, before: float) -> bool:
        return time.monotonic() - before < AGAIN_SECONDS

    def _search(self) -> Any:
        """Go through the chain with a new session, which remembers nothing."""
        from botocore.exceptions import NoCredentialsError  # noqa: PLC0415

        self._searched = time.monotonic()
        found = open_session(self._profile).get_credentials()
        if found is None:
            raise NoCredentialsError
        return found


def open_session(profile: str | None) -> Any:
    """Open a botocore session. Raises botocore's errors when there is no such profile.

    What it would log below a warning has session tokens and signatures in it.
    """
    from botocore.session import Session  # noqa: PLC0415 - 0.1 s and 20 MB

    for name in ("botocore", "urllib3"):
        logging.getLogger(name).setLevel(logging.WARNING)
    return Session(profile=profile)


def tell_credentials(name: str, error: Exception) -> str:
    """Why there are no keys, and what to do, in one line that quotes no key."""
    from botocore import exceptions  # noqa: PLC0415

    if isinstance(error, exceptions.NoCredentialsError):
        return (
            "no keys were found in the settings, the environment, a profile, a web identity or the machine's "
            f"metadata: set storage.{name}.access_key and secret_key, or AWS_ACCESS_KEY_ID and "
            "AWS_SECRET_ACCESS_KEY"
        )
    if isinstance(error, exceptions.ProfileNotFound):
        return f"{error}: correct storage.{name}.profile, or add it with `aws configure --profile`"
    if isinstance(error, exceptions.PartialCredentialsError):
        return f"only half of the keys is there: {error}"
    return (
        f"the keys could not be fetched ({type(error).__name__}): see the profile, role or metadata service"
    )
