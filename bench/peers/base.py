"""What a peer is: a server that the bench starts itself, and how to ask it for a file."""

from __future__ import annotations

import enum
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar
from urllib.parse import urlsplit

from bench.testbed.processes import Crew, Program
from bench.testbed.testbed import Ground


class Kind(enum.Enum):
    """What a request asks for."""

    DOWNLOAD = "download"
    """A file, for a token without a limit."""

    LIMITED = "limited"
    """A file, for a token whose downloads are counted."""

    AUTH = "auth"
    """Only whether a download may proceed: a front proxy's subrequest."""

    MINT = "mint"
    """A new token."""


@dataclass(frozen=True)
class Options:
    """How to start a server. cpus: those it may use."""

    cpus: Sequence[int]
    workers: int = 1
    tls: tuple[Path, Path] | None = None
    """Certificate and key, when it shall speak TLS."""

    bulk: bool = False
    """Large answers will be asked for: a peer that wants other options then takes them."""

    mint: bool = False
    """The gateway's mint service instead of its data plane."""

    bucket: bool = False
    """The file that will be asked for is an object of the bucket."""

    cache: bool = False
    """The gateway shall keep what it reads from the bucket."""


@dataclass
class Server:
    """A peer that runs."""

    peer: Peer
    program: Program
    port: int
    tls: bool = False
    fields: dict[str, str] = field(default_factory=dict)
    """Sent with every request."""

    host: str = "127.0.0.1"

    @property
    def url(self) -> str:
        """Its base URL."""
        return f"{'https' if self.tls else 'http'}://{self.host}:{self.port}"

    def pids(self) -> list[int]:
        """All its processes."""
        return self.program.pids()

    def request(self, kind: Kind, token: str, name: str, fields: dict[str, str] | None = None) -> bytes:
        """A whole request, as bytes, for the file `name` with this token."""
        target, more = self.peer.target(kind, token, name)
        head = {"Host": f"{self.host}:{self.port}", **self.fields, **more, **(fields or {})}
        lines = "".join(f"{field}: {value}\r\n" for field, value in head.items())
        return f"GET {target} HTTP/1.1\r\n{lines}\r\n".encode()


class Peer(ABC):
    """One of those compared."""

    name: ClassVar[str]
    title: ClassVar[str]
    kinds: ClassVar[frozenset[Kind]] = frozenset((Kind.DOWNLOAD, Kind.LIMITED, Kind.AUTH))
    checks: ClassVar[bool] = True
    """Whether it looks tokens up at all."""

    local: ClassVar[bool] = True
    """Whether it serves files of this machine: any that does not takes part only where it is named."""

    def missing(self, options: Options) -> str | None:
        """What it lacks on this machine and how to install it, or what it cannot do; None when it can."""
        if options.workers > 1:
            return "is measured with one worker only"
        return "does not speak TLS here" if options.tls else None

    @abstractmethod
    def start(self, ground: Ground, crew: Crew, options: Options) -> Server:
        """Start it, and return once it accepts connections. Raises BenchError."""

    def target(self, kind: Kind, token: str, name: str) -> tuple[str, dict[str, str]]:
        """The request's target and the header fields that belong to it."""
        if kind is Kind.AUTH:
            return "/auth", {"X-Original-URI": f"/download/{name}?token={token}"}
        return f"/{kind.value}?token={token}", {}


def split_authority(url: str) -> tuple[str, int]:
    """Host and port of a URL, with the scheme's own port when it names none."""
    parts = urlsplit(url)
    return parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
