"""What a peer is: a server that the bench starts itself, and how to request a file from it."""

from __future__ import annotations

import enum
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from bench.testbed.processes import ProcessGroup, Program
from bench.testbed.testbed import Testbed


class RequestKind(enum.Enum):
    """What a request asks for."""

    DOWNLOAD = "download"
    """A file, for a token without a limit."""

    LIMITED = "limited"
    """A file, for a token whose downloads are counted."""

    AUTH = "auth"
    """Whether a download may proceed: a front proxy's subrequest."""

    MINT = "mint"
    """A new token."""


@dataclass(frozen=True)
class StartOptions:
    """How to start a server. cpus: those that it may use."""

    cpus: Sequence[int]
    workers: int = 1
    tls: tuple[Path, Path] | None = None
    """Certificate and key, if it is to speak TLS."""

    bulk: bool = False
    """Whether large files will be requested, for which a peer may want other settings."""

    mint: bool = False
    """Whether to start the gateway's mint service instead of its data plane."""

    bucket: bool = False
    """Whether the file that will be requested is an object of the bucket."""

    cache: bool = False
    """Whether the gateway is to keep in its cache what it reads from the bucket."""


@dataclass
class Server:
    """A peer that runs."""

    peer: Peer
    program: Program
    port: int
    tls: bool = False
    fields: dict[str, str] = field(default_factory=dict)
    """Header fields that are sent with every request."""

    host: str = "127.0.0.1"

    @property
    def url(self) -> str:
        """The server's base URL."""
        return f"{'https' if self.tls else 'http'}://{self.host}:{self.port}"

    def pids(self) -> list[int]:
        """The ids of all its processes."""
        return self.program.pids()

    def request(
        self, kind: RequestKind, token: str, name: str, fields: dict[str, str] | None = None
    ) -> bytes:
        """A whole request, as bytes, for the file `name` with this token. fields: more header fields."""
        target, more = self.peer.target(kind, token, name)
        head = {"Host": f"{self.host}:{self.port}", **self.fields, **more, **(fields or {})}
        lines = "".join(f"{field}: {value}\r\n" for field, value in head.items())
        return f"GET {target} HTTP/1.1\r\n{lines}\r\n".encode()


class Peer(ABC):
    """One of those that are compared."""

    name: ClassVar[str]
    title: ClassVar[str]
    kinds: ClassVar[frozenset[RequestKind]] = frozenset(
        (RequestKind.DOWNLOAD, RequestKind.LIMITED, RequestKind.AUTH)
    )
    checks: ClassVar[bool] = True
    """Whether it looks up tokens at all."""

    local: ClassVar[bool] = True
    """Whether it serves files of this machine. Others take part only where a scenario names them."""

    def missing(self, options: StartOptions) -> str | None:
        """Why it cannot be started with these options, and what to install if that helps; None if it can."""
        if options.workers > 1:
            return "is measured with one worker only"
        return "does not speak TLS here" if options.tls else None

    @abstractmethod
    def start(self, testbed: Testbed, processes: ProcessGroup, options: StartOptions) -> Server:
        """Start it, and return once it accepts connections. Raises BenchError."""

    def target(self, kind: RequestKind, token: str, name: str) -> tuple[str, dict[str, str]]:
        """The request's target, and the header fields that belong to it."""
        if kind is RequestKind.AUTH:
            return "/auth", {"X-Original-URI": f"/download/{name}?token={token}"}
        return f"/{kind.value}?token={token}", {}
