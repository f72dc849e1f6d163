"""The data plane under test: real workers, a real store, and a client that reads HTTP strictly.

A `Plane` is one or more workers (`gateway.supervisor.child`, as the supervisor starts them) on one port, with
a folder of files. `publish` and `token` write what a publisher and the mint write, by the store's layout.
A `Client` sends any bytes and holds the answers to RFC 9112: lengths, line ends, no field twice.
"""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import time
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import redis

from gateway.config.settings import Settings
from gateway.http.file_names import media_type
from gateway.manifest import Manifest, ManifestFile
from gateway.runtime.listeners import Listener
from gateway.runtime.metrics import FAULTS, Counters, new_block
from gateway.runtime.running_counts import new_memory
from gateway.secrets import new_token, token_id
from gateway.store.key_names import token_key
from gateway.supervisor.child import ChildInput
from tests.support.backends import Backend, Folder
from tests.support.processes import ROOT
from tests.support.store_server import run_store
from tests.support.waiting import wait_until
from tests.support.worker_server import ForkedProcess, worker_server

READY_SECONDS = 60

Process = subprocess.Popen[bytes] | ForkedProcess
NO_SETTINGS = ("own_url", "lease_times", "patience", "descriptors", "restarts")
"""Options of a plane that are no settings; lease_times: seconds, as in `leases.Times`; patience: seconds, see
worker_program.py; descriptors: the hard limit of each worker; restarts: whether `restart` will be called."""
PATIENCE_SECONDS = 30
"""How long workers wait for the store and for each other, unless a test is about just that: on a busy machine
each of them may stand still for seconds."""
CLIENT_SECONDS = 60
"""No answer in this time is a hang."""

_STATUS_LINE = re.compile(rb"HTTP/1\.1 ([1-5][0-9]{2}) [ -~]*")
_FIELD = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+): ([ -~\t]*)")
_LISTS = ("vary", "www-authenticate")
"""Fields that may stand on several lines; any other stands once."""


@dataclass
class Response:
    """One answer, as it came."""

    status: int
    lines: list[tuple[str, str]]
    body: bytes = b""

    def __getitem__(self, name: str) -> str:
        [value] = [value for known, value in self.lines if known.lower() == name.lower()]
        return value

    def get(self, name: str) -> str | None:
        return next((value for known, value in self.lines if known.lower() == name.lower()), None)

    def __contains__(self, name: str) -> bool:
        return self.get(name) is not None

    @property
    def keeps(self) -> bool:
        return (self.get("Connection") or "").lower() != "close"

    @property
    def code(self) -> str:
        """The code of a refusal."""
        assert self["Content-Type"] == "application/problem+json"
        problem = json.loads(self.body)
        assert problem["status"] == self.status
        return str(problem["code"])


class Client:
    """One connection."""

    def __init__(
        self, address: tuple[str, int] | str, receive_buffer: int = 0, context: ssl.SSLContext | None = None
    ) -> None:
        on_unix = isinstance(address, str)
        self.socket = socket.socket(socket.AF_UNIX if on_unix else socket.AF_INET)
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(CLIENT_SECONDS)
        self.socket.connect(address)
        if not on_unix:
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if context is not None:
            self.socket = context.wrap_socket(self.socket, server_hostname="localhost")
        self.buffer = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def get(self, target: str, *fields: str, method: str = "GET") -> Response:
        self.send(request(target, *fields, method=method))
        return self.read(method)

    def read_head(self) -> Response:
        """The next answer's head; asserts that it follows the grammar of RFC 9112."""
        while b"\r\n\r\n" not in self.buffer:
            data = self.socket.recv(65536)
            assert data, f"the connection ended within a head: {self.buffer!r}"
            self.buffer += data
        head, _, self.buffer = self.buffer.partition(b"\r\n\r\n")
        first, *rest = head.split(b"\r\n")
        status = _STATUS_LINE.fullmatch(first)
        assert status, first
        lines = []
        for line in rest:
            match = _FIELD.fullmatch(line)
            assert match, line
            lines.append((match[1].decode(), match[2].decode()))
        names = [name.lower() for name, _ in lines]
        assert [name for name in names if names.count(name) > 1 and name not in _LISTS] == []
        assert "transfer-encoding" not in names
        assert "date" in names
        return Response(int(status[1]), lines)

    def read(self, method: str = "GET") -> Response:
        """The next answer, whole."""
        response = self.read_head()
        if response.status in (204, 304):
            return response
        length = int(response["Content-Length"])
        if method != "HEAD":
            response.body = self.read_bytes(length)
        return response

    def read_bytes(self, length: int) -> bytes:
        pieces = [self.buffer[:length]]
        self.buffer = self.buffer[length:]
        left = length - len(pieces[0])
        while left:
            data = self.socket.recv(min(left, 1 << 20))
            assert data, f"the connection ended {left} bytes early"
            pieces.append(data)
            left -= len(data)
        return b"".join(pieces)

    def read_until_closed(self) -> bytes:
        """What comes until the connection ends, in whatever way."""
        pieces = [self.buffer]
        self.buffer = b""
        try:
            while data := self.socket.recv(1 << 20):
                pieces.append(data)
        except ConnectionError:
            pass
        return b"".join(pieces)

    def assert_closed(self) -> None:
        assert self.read_until_closed() == b""

    def end(self) -> None:
        """Close the sending side only."""
        self.socket.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """End the connection as a crashed client does: with RST."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.socket.close()


def request(target: str, *fields: str, method: str = "GET", version: str = "1.1") -> bytes:
    """One request without a body. Characters beyond ASCII are sent as UTF-8."""
    lines = [f"{method} {target} HTTP/{version}", "Host: localhost", *fields, "", ""]
    return "\r\n".join(lines).encode("utf-8", "surrogateescape")


def statuses(answers: bytes) -> list[int]:
    """Those of several answers that came one after the other."""
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d+) ", answers)]


def whole_lines(log: Path) -> list[str]:
    """The lines of a log that another process writes; the last one may be there in part as yet."""
    return log.read_text().rpartition("\n")[0].splitlines()


def make_certificate(folder: Path) -> tuple[Path, Path]:
    """A self-signed certificate for this machine, and its key."""
    certificate, key = folder / "cert.pem", folder / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
         "-days", "2", "-keyout", str(key), "-out", str(certificate),
         "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"],
        check=True, capture_output=True,
    )  # fmt: skip
    return certificate, key


@dataclass
class Published:
    """A version in the store, its files on disk, and what they hold."""

    manifest: Manifest
    paths: list[Path]

    @property
    def file(self) -> ManifestFile:
        return self.manifest.files[0]

    @property
    def path(self) -> Path:
        return self.paths[0]

    @property
    def etag(self) -> str:
        return f'"{self.file.sha256}"'


@dataclass
class Worker:
    """One worker process."""

    process: Process
    errors: Path
    counters: Counters

    def descriptors(self, ignore: str) -> int:
        """Open descriptors, without those of files below the folder `ignore`."""
        folder = f"/proc/{self.process.pid}/fd"
        count = 0
        for name in os.listdir(folder):
            with suppress(OSError):
                count += not os.readlink(f"{folder}/{name}").startswith(ignore)
        return count


@dataclass
class Plane:
    """Workers on one port. options: settings of the gateway, by name."""

    folder: Path
    redis_url: str
    options: Mapping[str, Any] = field(default_factory=dict)
    workers: list[Worker] = field(default_factory=list)
    expected: list[str] = field(default_factory=list)
    """Events at level error that a test provokes; any other fails it."""
    backend: Backend | None = None
    """Where the files are; unless given, a folder."""

    def __post_init__(self) -> None:
        self.root = self.folder / "files"
        self.root.mkdir()
        self.files = self.backend or Folder(self.root)
        self.log = self.folder / "access.log"
        self.store = redis.Redis.from_url(self.options.get("own_url", self.redis_url))
        self._number = 0
        self._listener: Listener | None = None
        self.client_context: ssl.SSLContext | None = None

    def start(self) -> None:
        options = {name: value for name, value in self.options.items() if name not in NO_SETTINGS}
        values: dict[str, Any] = {
            "redis_url": self.redis_url,
            "redis_timeout": PATIENCE_SECONDS,
            "workers": 1,
            "data": self.folder / "data",
            "access_log": str(self.log),
            **self.files.settings(self.folder),
        }
        self.settings = Settings(**(values | options))
        listener = Listener(self.options.get("listen", "127.0.0.1:0"), "listen")
        listener.grow(self.settings.workers)
        self.address = ("127.0.0.1", listener.address.port)
        self.path = listener.address.path
        self._attempts = new_memory()
        started = [self._spawn(slot, listener) for slot in range(self.settings.workers)]
        for worker, ready in started:
            self.workers.append(worker)
            with open(ready, "rb") as pipe:
                signal_byte = pipe.read(1)
            assert signal_byte == b"+", worker.errors.read_text()
        if self.path or self.options.get("restarts"):
            self._listener = listener  # closing it removes a unix socket
        else:
            listener.close()

    def _spawn(self, slot: int, listener: Listener) -> tuple[Worker, int]:
        sockets = [each.fileno() for each in listener.share(slot, self.settings.workers)]
        memory = new_block()
        ready, announce = os.pipe()
        errors = self.folder / f"worker-{slot}.err"
        with errors.open("ab") as log:
            process = self._start(slot, sockets, memory, announce, log.fileno())
        os.close(announce)
        counters = Counters(memory)
        os.close(memory)
        return Worker(process, errors, counters), ready

    def _start(self, slot: int, sockets: list[int], memory: int, announce: int, log: int) -> Process:
        """Start the process: quickly, but where coverage is measured, which a new interpreter starts."""
        settings = self.settings.model_dump(mode="json")
        patience = self.options.get("patience", PATIENCE_SECONDS)
        times = self.options.get("lease_times") or ()
        arguments = ["worker", *map(str, (slot, patience, *times))]
        limit = self.options.get("descriptors")
        if limit is None and "COVERAGE_PROCESS_CONFIG" not in os.environ:
            return worker_server().start(arguments, settings, sockets, memory, announce, log, self._attempts)
        program = str(Path(__file__).with_name("worker_program.py"))
        prefix = () if limit is None else ("prlimit", f"--nofile={limit // 2}:{limit}")
        process = subprocess.Popen(
            [*prefix, sys.executable, "-P", program, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=log,
            pass_fds=(*sockets, memory, announce, self._attempts),
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        assert process.stdin is not None
        given = ChildInput(settings, sockets, memory, announce, os.getpid(), self._attempts)
        process.stdin.write(given.encode())
        process.stdin.close()
        return process

    def stop(self) -> None:
        """End the workers as a supervisor would, and check what they logged."""
        for worker in self.workers:
            if worker.process.poll() is None:
                worker.process.send_signal(signal.SIGTERM)
        for worker in self.workers:
            try:
                code = worker.process.wait(60)
            except subprocess.TimeoutExpired:
                worker.process.kill()
                worker.process.wait()
                raise
            assert code == 0
        for worker in self.workers:
            assert self.complaints(worker) == []
            assert worker.counters.values()[FAULTS] == 0
            worker.counters.close()
        self.workers.clear()
        if self._attempts >= 0:  # it may have been stopped before
            os.close(self._attempts)
            self._attempts = -1
        if self._listener is not None:
            self._listener.close()
        self.store.close()

    def lose(self, worker: Worker) -> None:
        """Kill one worker, for good."""
        worker.process.kill()
        worker.process.wait()
        worker.counters.close()
        self.workers.remove(worker)

    def restart(self, slot: int) -> None:
        """Kill a worker, and start another one on its socket, as a supervisor does."""
        assert self._listener is not None
        worker = self.workers[slot]
        worker.process.kill()
        worker.process.wait()
        worker.counters.close()
        self.workers[slot], ready = self._spawn(slot, self._listener)
        with open(ready, "rb") as pipe:
            assert pipe.read(1) == b"+", worker.errors.read_text()

    def kill(self) -> None:
        """Kill every worker that still runs."""
        for worker in self.workers:
            worker.process.kill()
            worker.process.wait()

    def complaints(self, worker: Worker) -> list[str]:
        """Lines of standard error that no test expects: lines that are no log events, and errors."""
        lines = []
        for line in worker.errors.read_text().splitlines():
            try:
                event = json.loads(line)
            except ValueError:
                lines.append(line)
                continue
            level, text = event.get("level"), event.get("event", "")
            if "exception" in event or (
                level == "error" and not any(expected in text for expected in self.expected)
            ):
                lines.append(line)
        return lines

    # What a publisher and the mint write.

    def publish(
        self,
        *contents: bytes,
        names: list[str] | None = None,
        sparse: int = 0,
        modified: int | None = None,
    ) -> Published:
        """A version with these files. sparse: the last file's size. modified: the time of all."""
        self._number += 1
        names = names or [f"file-{index}.bin" for index in range(len(contents))]
        files, paths = [], []
        for index, (name, content) in enumerate(zip(names, contents, strict=True)):
            key = f"{self._number}-{index}"
            path = self.root / key
            facts = self.files.put(key, content)
            size, digest = facts.size, sha256(content)
            if modified is not None:
                self.files.date(key, modified)
                facts = facts._replace(modified=modified)
            if sparse and index == len(contents) - 1:
                os.truncate(path, sparse)
                self.files.date(key, facts.modified)
                size, digest = sparse, sha256(f"sparse {sparse}".encode())
            files.append(
                ManifestFile(
                    name,
                    size,
                    media_type(name),
                    digest.hexdigest(),
                    f"{zlib.crc32(content):08x}",
                    "main",
                    key,
                    facts.modified,
                    facts.etag,
                    facts.version_id,
                )
            )
            paths.append(path)
        manifest = Manifest(f"product-{self._number}", "1.0", tuple(files))
        self.store.set(f"dg:manifest:{{{manifest.digest}}}", manifest.text)
        return Published(manifest, paths)

    def remove(self, published: Published) -> None:
        """Take a version's first file away."""
        self.files.remove(published.file.key)

    def replace(self, published: Published, content: bytes) -> None:
        """Put another file in the place of a version's first."""
        self.files.put(published.file.key, content)

    def token(
        self, published: Published, maximum: int | None = None, ttl_ms: int = 3_600_000, caps: str = ""
    ) -> str:
        """A fresh token for the version. caps: its other limits, as in tokens/caps.py."""
        token = new_token()
        key = token_key(token_id(token))
        now = time.time_ns() // 1_000_000
        values: dict[Any, str | int] = {
            "manifest": published.manifest.digest,
            "product": published.manifest.product,
            "version": published.manifest.version,
            "created": now,
            "expires": now + ttl_ms,
        }
        if maximum is not None:
            values["max"] = maximum
            if len(published.manifest.files) == 1:
                values["size"] = published.file.size
        if caps:
            values["caps"] = caps
        pipe = self.store.pipeline(transaction=True)
        pipe.hset(key, mapping=values)
        pipe.pexpireat(key, now + ttl_ms)
        pipe.execute()
        return token

    def link(self, published: Published, maximum: int | None = None) -> str:
        """A minted URL of a version's only file, with a fresh token."""
        return f"/download?token={self.token(published, maximum)}"

    def revoke(self, token: str) -> None:
        self.store.hset(token_key(token_id(token)), "revoked", time.time_ns() // 1_000_000)

    def charged(self, token: str, file: int = 0) -> int:
        token = token.partition("token=")[2] or token
        return int(self.store.hget(token_key(token_id(token)), f"charged:{file}") or 0)

    def charge(self, token: str, amount: int, file: int = 0) -> None:
        """Charge a token for bytes, as if it had received them."""
        token = token.partition("token=")[2] or token
        self.store.hincrby(token_key(token_id(token)), f"charged:{file}", amount)

    def token_fields(self, token: str) -> dict[str, str]:
        """All that the store holds of a token."""
        token = token.partition("token=")[2] or token
        fields: Any = self.store.hgetall(token_key(token_id(token)))
        return {name.decode(): value.decode() for name, value in fields.items()}

    # Clients.

    def connect(self, receive_buffer: int = 0) -> Client:
        return Client(self.path or self.address, receive_buffer, self.client_context)

    def get(self, target: str, *fields: str, method: str = "GET") -> Response:
        """One request on a connection of its own."""
        with self.connect() as client:
            return client.get(target, *fields, method=method)

    def exchange(self, data: bytes) -> bytes:
        """Send bytes, and read until the connection ends."""
        with self.connect() as client:
            client.send(data)
            return client.read_until_closed()

    def entries(self) -> list[dict[str, Any]]:
        """The access log so far, without a line that is being written."""
        return [json.loads(line) for line in whole_lines(self.log)]

    def descriptors(self) -> int:
        return sum(worker.descriptors(str(self.root)) for worker in self.workers)

    @contextmanager
    def no_leak(self) -> Iterator[None]:
        """Assert that, soon after the block, no more descriptors are open than before."""
        before = self.descriptors()
        yield
        wait_until(
            lambda: self.descriptors() <= before, f"{self.descriptors()} descriptors were {before} again"
        )


@contextmanager
def run_plane(folder: Path, backend: Backend | None = None, /, **options: Any) -> Iterator[Plane]:
    """Workers with a store of their own. options: their settings, by name."""
    with run_store() as server:
        running = Plane(folder, server.url, options, backend=backend)
        try:
            running.start()
            yield running
            running.stop()
        finally:
            running.kill()
