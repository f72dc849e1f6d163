"""Where the keys of a bucket come from: the settings, else the chain that the tools of AWS search.

The chain is that of botocore (environment, profile, web identity, metadata of the container or the machine),
which also renews temporary keys. botocore is imported only when the chain is searched, so never for a bucket
that has its keys in the settings.
"""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from gateway.errors import StorageError

if TYPE_CHECKING:
    from gateway.config.storages import S3Settings

FRESH_SECONDS: Final = 300
"""Temporary keys with less time to live are renewed. Services hand out the next ones at least this early."""
AGAIN_SECONDS: Final = 10.0
"""After a search for refused keys, or after a failed renewal, this time passes before the next: a bucket that
denies access must not load the metadata service with every request, and a metadata service that hangs must
not delay every request."""


class Credentials(NamedTuple):
    """What signs a request. session_token: that of temporary keys, else empty."""

    access_key: str
    secret_key: str
    session_token: str = ""

    def __repr__(self) -> str:
        return "Credentials(…)"


class CredentialSource(Protocol):
    """Where credentials come from. Safe from any thread."""

    def now(self) -> Credentials | None:
        """Return the keys in memory if they stay valid for a while, else None. Never waits."""

    def fetch(self, refused: Credentials | None = None) -> Credentials:
        """Find or renew the keys. Blocks.

        refused: keys that the storage no longer accepts, so other ones are needed. Raises StorageError.
        """


def find_credentials(name: str, table: S3Settings) -> CredentialSource:
    """Return the source that the settings of a storage ask for."""
    if table.anonymous:
        return GivenCredentials(Credentials("", ""))
    if table.access_key is not None and table.secret_key is not None:
        return GivenCredentials(Credentials(table.access_key, table.secret_key, table.session_token or ""))
    return ChainCredentials(name, table.profile)


class GivenCredentials:
    """Keys from the settings, which never change. Empty ones sign no request."""

    def __init__(self, credentials: Credentials) -> None:
        self._credentials = credentials

    def now(self) -> Credentials:
        """Return the keys of the settings."""
        return self._credentials

    def fetch(self, refused: Credentials | None = None) -> Credentials:  # noqa: ARG002 - there are no others
        """Return the keys of the settings."""
        return self._credentials


class ChainCredentials:
    """Keys that botocore finds, renewed before they expire. Safe from any thread."""

    def __init__(self, name: str, profile: str | None) -> None:
        self._name = name
        self._profile = profile
        self._held: tuple[Credentials, Any] | None = None
        self._searched = self._failed = float("-inf")
        self._lock = threading.Lock()

    def now(self) -> Credentials | None:
        """Return the keys in memory, unless they expire within FRESH_SECONDS."""
        return self._valid_for(FRESH_SECONDS)

    def fetch(self, refused: Credentials | None = None) -> Credentials:
        """Find or renew the keys; blocks. Refused ones are searched for from the start of the chain.

        While the keys in memory still work, one caller at a time renews them and the others get the old ones;
        after a failed renewal nobody tries again for AGAIN_SECONDS.
        """
        usable = self._valid_for(0)
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
        if current is not None and (current != refused or self._is_recent(self._searched)):
            return current
        if usable is not None and self._is_recent(self._failed):
            return usable
        try:
            found = self._search() if self._held is None or current is not None else self._held[1]
            frozen = found.get_frozen_credentials()
        except Exception as error:  # botocore's providers raise errors of many libraries
            self._failed = time.monotonic()
            if usable is not None:
                return usable
            raise StorageError(f"storage {self._name}: {explain_no_keys(self._name, error)}") from None
        fresh = Credentials(frozen.access_key, frozen.secret_key, frozen.token or "")
        self._held = (fresh, found)
        return fresh

    def _valid_for(self, seconds: int) -> Credentials | None:
        """Return the keys in memory if they stay valid for so long. Keys that never expire always do."""
        if self._held is None:
            return None
        current, found = self._held
        if hasattr(found, "refresh_needed") and found.refresh_needed(seconds):
            return None
        return current

    def _is_recent(self, moment: float) -> bool:
        return time.monotonic() - moment < AGAIN_SECONDS

    def _search(self) -> Any:
        """Search the chain with a new session, which remembers nothing of earlier searches."""
        from botocore.exceptions import NoCredentialsError  # noqa: PLC0415

        self._searched = time.monotonic()
        found = open_session(self._profile).get_credentials()
        if found is None:
            raise NoCredentialsError
        return found


def open_session(profile: str | None) -> Any:
    """Open a botocore session. Raises errors of botocore when there is no such profile.

    The loggers of botocore are limited to warnings: below that level they write session tokens and
    signatures.
    """
    from botocore.config import Config  # noqa: PLC0415
    from botocore.session import Session  # noqa: PLC0415 - takes 0.1 s and 20 MB

    for name in ("botocore", "urllib3"):
        logging.getLogger(name).setLevel(logging.WARNING)
    session = Session(profile=profile)
    session.set_default_client_config(Config(proxies={}))  # see storage/proxies.py
    return session


def explain_no_keys(name: str, error: Exception) -> str:
    """Say in one line why there are no keys and what to do about it. The text quotes no key."""
    from botocore import exceptions  # noqa: PLC0415

    if isinstance(error, exceptions.NoCredentialsError):
        return (
            "no keys were found in the settings, the environment, a profile, a web identity or the machine's "
            f"metadata: set storage.{name}.access_key and secret_key, or AWS_ACCESS_KEY_ID and "
            "AWS_SECRET_ACCESS_KEY"
        )
    if isinstance(error, exceptions.ProfileNotFound):
        return (
            f"the profile ({error.kwargs.get('profile')}) is not in the AWS files: correct "
            f"storage.{name}.profile, or add it with `aws configure --profile`"
        )
    if isinstance(error, exceptions.PartialCredentialsError):
        return "only half of the keys was found: set the access key and the secret key in the same place"
    return (
        f"the keys could not be fetched ({type(error).__name__}): check the profile, the role or "
        "the metadata service"
    )
