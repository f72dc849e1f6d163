"""A storage that serves bytes over HTTP and fails as a test asks, which no real storage does.

    with Upstream() as upstream:
        upstream.put("file.bin", b"...")                 # or Pattern(1 << 30), which takes no memory
        upstream.faults += [Fault(reset_after=1000), Fault(status=503, code="SlowDown"), GOOD, Fault(...)]
        storage = S3Storage(upstream.bucket(), count)    # plain Bucket, unsigned requests
        blob = storage.lookup(upstream.entry("file.bin"))

Each request for an object (GET and HEAD) takes the next of `faults`, or `always` (by default GOOD) when none
is left. The fields of a Fault can be combined. Paths are `/BUCKET/KEY`. Ranges, If-Match and versionId are
checked as S3 does it; signatures are not checked. `requests` has the requests that came, `sent` counts the
bytes of the bodies that were sent, `connections` the connections that were accepted, and `open` those that
are open now.

It runs in threads of the test's process, one a connection, so asyncio tests can use it as it is.
"""

from __future__ import annotations

import hashlib
import re
import socket
import ssl
import threading
import time
from collections import Counter, deque
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, unquote
from xml.sax.saxutils import escape

from gateway.http.fields import format_date
from gateway.manifest import ManifestFile
from gateway.storage.s3.bucket import Bucket
from gateway.storage.s3.credentials import Credentials
from tests.support.broken_connections import reset, wait_for_end, wait_until_arrived
from tests.support.bucket_faults import GOOD, Fault
from tests.support.bucket_objects import Asked, Pattern, Stored, read_request

PIECE = 256 * 1024
BUCKET = "shop"


class _Anonymous:
    """Implements CredentialSource: no keys."""

    def now(self) -> Credentials:
        return Credentials("", "")

    def fetch(self, refused: Credentials | None = None) -> Credentials:
        return Credentials("", "")


class Upstream:
    """The server; see the module.

    certificate: the PEM files of certificate and key, for TLS. segment: the size of a TCP
    segment in bytes, if not the 64 KiB of loopback; that of a network card is 1448.
    """

    def __init__(
        self, certificate: tuple[Path, Path] | None = None, host: str = "127.0.0.1", segment: int = 0
    ) -> None:
        self.objects: dict[str, Stored] = {}
        self.faults: deque[Fault] = deque()
        self.always = GOOD
        self.requests: list[Asked] = []
        self.sent = 0
        self.connections = 0
        self.lock = threading.Lock()
        self._host = host
        self._certificate = certificate
        self._context: ssl.SSLContext | None = None
        if certificate is not None:
            self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._context.load_cert_chain(*certificate)
        self._open: set[socket.socket] = set()
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._listener = socket.create_server((host, 0), family=family, backlog=1024)
        if segment:
            self._listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, segment)
        self.port = self._listener.getsockname()[1]
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    # For tests.

    def put(
        self,
        key: str,
        content: bytes | Pattern,
        etag: str = "",
        modified: int = 1_700_000_000,
        version: str = "",
    ) -> ManifestFile:
        """Store an object, or replace it; return its entry for a manifest."""
        if not etag:
            etag = f'"{hashlib.md5(bytes(content[: 1 << 20]) + str(len(content)).encode()).hexdigest()}"'
        self.objects[key] = Stored(content, etag, modified, version)
        return self.entry(key)

    def entry(self, key: str, storage: str = "s3") -> ManifestFile:
        """Return the entry of an object for a manifest. Its digests are not right."""
        stored = self.objects[key]
        return ManifestFile(
            key,
            len(stored.content),
            "application/octet-stream",
            "0" * 64,
            "0" * 8,
            storage,
            key,
            stored.modified * 1_000_000_000,
            stored.etag,
            stored.version,
        )

    @property
    def endpoint(self) -> str:
        """The URL for the settings."""
        host = self._host if self._context is None else "localhost"
        scheme = "http" if self._context is None else "https"
        return f"{scheme}://{f'[{host}]' if ':' in host else host}:{self.port}"

    def bucket(self, **changes: Any) -> Bucket:
        """Return the bucket that S3Storage is made with; changes: other values for its fields."""
        values: dict[str, Any] = {
            "name": "s3",
            "bucket": BUCKET,
            "host": self._host if self._context is None else "localhost",
            "port": self.port,
            "tls": self._context is not None,
            "path": f"/{BUCKET}/",
            "region": "us-east-1",
            "connections": 100,
            "connect_timeout": 30.0,
            "read_timeout": 30.0,
            "ca_file": None if self._certificate is None else self._certificate[0],
            "credentials": _Anonymous,
        }
        return Bucket(**(values | changes))

    @property
    def open(self) -> int:
        """How many connections are open now."""
        with self.lock:
            return len(self._open)

    @property
    def fetched(self) -> Counter[str]:
        """How often each range was asked for by GET, without the byte that a check reads (`bytes=0-0`)."""
        with self.lock:
            return Counter(
                asked.range for asked in self.requests if asked.method == "GET" and asked.range != "bytes=0-0"
            )

    def cut(self) -> None:
        """Reset every connection, whatever happens on it."""
        with self.lock:
            for connection in self._open:
                reset(connection)

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()
        for thread in list(self._threads):
            thread.join(5)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # One connection.

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._serve, args=(connection,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._context is not None:
                connection = self._context.wrap_socket(connection, server_side=True)
        except OSError:
            connection.close()
            return
        with self.lock:
            self.connections += 1
            self._open.add(connection)
        reader = connection.makefile("rb")
        try:
            while (asked := read_request(reader)) is not None:
                with self.lock:
                    self.requests.append(asked)
                    fault = self.faults.popleft() if self.faults else self.always
                if not self._answer(connection, asked, fault):
                    break
        except OSError:
            pass
        finally:
            reader.close()
            connection.close()
            with self.lock:
                self._open.discard(connection)

    def _answer(self, connection: socket.socket, asked: Asked, fault: Fault) -> bool:
        """Answer one request; return whether the connection stays open."""
        if fault.then is not None:
            fault.then()
        if fault.before_head == "reset":
            reset(connection)
            return False
        if fault.before_head == "close":
            return False
        if fault.before_head == "stall":
            wait_for_end(connection)
            return False
        if fault.garbage:
            connection.sendall(fault.garbage)
            return False
        status, fields, content, (start, stop) = self._decide(asked, fault)
        fields |= {name: value for name, value in fault.fields.items() if value is not None}
        for name, value in fault.fields.items():
            if value is None:
                fields.pop(name, None)
        if fault.closes:
            fields["Connection"] = "close"
        if fault.chunked:
            fields.pop("Content-Length", None)
            fields["Transfer-Encoding"] = "chunked"
        lines = [f"HTTP/1.1 {status} Because", *(f"{name}: {value}" for name, value in fields.items())]
        head = "\r\n".join([*lines, "", ""]).encode()
        size = -(-len(head) // fault.pieces)
        for at in range(0, len(head), size):
            connection.sendall(head[at : at + size])
            if fault.pieces > 1:
                time.sleep(0.005)
        if asked.method == "HEAD":
            return not fault.closes
        return self._send(connection, content, start, stop, fault) and not fault.closes

    def _send(
        self, connection: socket.socket, content: bytes | Pattern, start: int, stop: int, fault: Fault
    ) -> bool:
        ends = [end for end in (fault.reset_after, fault.short_after, fault.stall_after) if end is not None]
        whole, stop = stop, min([stop, *(start + end for end in ends)])
        piece = max(1, fault.rate // 20) if fault.rate else PIECE
        while start < stop:
            data = content[start : min(start + piece, stop)]
            start += len(data)
            if fault.chunked:
                data = b"%x\r\n%s\r\n" % (len(data), data)
            connection.sendall(data)
            with self.lock:
                self.sent += len(data)
            if fault.rate:
                time.sleep(0.05)
        if fault.reset_after is not None and stop < whole:
            wait_until_arrived(connection)
            reset(connection)
            return False
        if fault.stall_after is not None and stop < whole:
            wait_for_end(connection)
            return False
        if fault.chunked:
            connection.sendall(b"0\r\n\r\n")
        return fault.short_after is None

    def _decide(
        self, asked: Asked, fault: Fault
    ) -> tuple[int, dict[str, str], bytes | Pattern, tuple[int, int]]:
        """Return the status, the fields, the content, and which bytes of it to send."""
        if fault.status:
            fields = {"Retry-After": fault.retry_after} if fault.retry_after else {}
            return self._error(fault.status, fault.code or "Failed", fields)
        path, _, query = asked.target.partition("?")
        if path == f"/{BUCKET}" and "list-type=2" in query:
            body = self._listing(parse_qs(query).get("prefix", [""])[0])
            return 200, {"Content-Length": str(len(body))}, body, (0, len(body))
        stored = self.objects.get(unquote(path).removeprefix(f"/{BUCKET}/"))
        version = parse_qs(query).get("versionId", [""])[0]
        if stored is None or (version and version != stored.version):
            return self._error(404, "NoSuchKey")
        if asked.fields.get("if-match", stored.etag) != stored.etag:
            return self._error(412, "PreconditionFailed")
        size = len(stored.content)
        fields = {
            "Content-Length": str(size),
            "ETag": stored.etag,
            "Last-Modified": format_date(stored.modified),
            "Accept-Ranges": "bytes",
        }
        if stored.version:
            fields["x-amz-version-id"] = stored.version
        match = re.fullmatch(r"bytes=(\d+)-(\d+)", asked.range)
        if match is None or fault.ignore_range:
            return 200, fields, stored.content, (0, size)
        start, stop = int(match[1]), min(int(match[2]) + 1, size)
        if start >= size:
            return self._error(416, "InvalidRange")
        fields["Content-Length"] = str(stop - start)
        fields["Content-Range"] = f"bytes {start}-{stop - 1}/{size}"
        return fault.range_status, fields, stored.content, (start, stop)

    def _listing(self, prefix: str) -> bytes:
        found = "".join(
            f"<Contents><Key>{escape(key)}</Key><Size>{len(stored.content)}</Size><ETag>{stored.etag}</ETag>"
            "<LastModified>2026-11-24T10:00:00.000Z</LastModified></Contents>"
            for key, stored in sorted(self.objects.items())
            if key.startswith(prefix)
        )
        head = "<?xml version='1.0' encoding='UTF-8'?><ListBucketResult>"
        return f"{head}<IsTruncated>false</IsTruncated>{found}</ListBucketResult>".encode()

    def _error(
        self, status: int, code: str, fields: dict[str, str] | None = None
    ) -> tuple[int, dict[str, str], bytes, tuple[int, int]]:
        body = f"<?xml version='1.0'?><Error><Code>{code}</Code></Error>".encode()
        return status, {"Content-Length": str(len(body)), **(fields or {})}, body, (0, len(body))
