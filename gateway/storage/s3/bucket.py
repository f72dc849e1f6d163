"""What is known of a bucket from the settings: where it is and how to speak to it. Values only."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, Protocol


class Credentials(NamedTuple):
    """What signs a request. session_token: of temporary credentials, else empty."""

    access_key: str
    secret_key: str
    session_token: str = ""

    def __repr__(self) -> str:
        return "Credentials(…)"


class CredentialSource(Protocol):
    """Where credentials come from; safe from any thread."""

    def now(self) -> Credentials | None:
        """Those in memory, if they are good for a while yet; never waits."""

    def fetch(self, refused: Credentials | None = None) -> Credentials:
        """Find or refresh them; blocks. `refused`: these do not work any more. Raises StorageError."""


@dataclass(frozen=True)
class Bucket:
    """One `[storage.NAME]` of type s3.

    host, port, tls: where to connect and what `Host` begins with; for virtual addressing `host` already has
    the bucket's name in front. path: what comes before the key in a URL's path, unquoted, beginning and
    ending with "/" ("/" alone, or "/BUCKET/", the prefix of the settings behind it). ca_file: of a private
    authority; verify: whether certificates are checked. Times are in seconds.
    """

    name: str
    bucket: str
    host: str
    port: int
    tls: bool
    path: str
    region: str
    connections: int
    connect_timeout: float
    read_timeout: float
    ca_file: Path | None = None
    verify: bool = True
    redirect: bool = False
    redirect_ttl: int = 300
    credentials: Callable[[], CredentialSource] = field(kw_only=True, repr=False)
