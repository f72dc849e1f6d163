"""A seller's machine with `up` running: connections, signed webhooks, and customers who download."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import socket
import sqlite3
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

from gateway.config.database_url import DATABASE_FILE
from tests.support.control_plane import ask
from tests.support.faults import Faults
from tests.support.journey import Shop
from tests.support.listening import found_port
from tests.support.postgres import PostgresServer
from tests.support.waiting import wait_until
from tests.support.webhooks import SECRETS, signature

DRUMS = random.Random(13).randbytes(24 << 20)
"""More than what kernels hold of a download that nobody reads."""
LOOPS = b"loops " * 1000
REFUSED_SECONDS = 3
"""After the answer to a webhook, its tokens are refused."""
BROKEN_SECONDS = 5
"""After it, running downloads are broken."""


class ShopApi:
    """The API of a platform on this machine. answers: values of JSON, by path."""

    def __init__(self) -> None:
        self.answers: dict[str, Any] = {}
        answers = self.answers

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                found = answers.get(urlsplit(self.path).path)
                body = json.dumps(found).encode()
                self.send_response(404 if found is None else 200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


class Storefront(Shop):
    """`up` with two products, drums.bin and loops.bin, and its admin API."""

    def __init__(self, folder: Path, postgres: PostgresServer | None = None) -> None:
        """postgres: where its database is made; without it, it is a file of SQLite below `data`."""
        super().__init__(folder)
        self.postgres = postgres
        self.faults = Faults(folder / "faults")
        self.api = ShopApi()
        self.faults.stripe_at(self.api.url)
        self.variables |= {**self.faults.variables, "GATEWAY_LOOPBACK_SHOPS": "true"}
        self.variables["GATEWAY_MAX_HOOK_ATTEMPTS"] = "0"  # so that junk gets as far as the signature
        if postgres is not None:
            url = asyncio.run(postgres.create(f"storefront_{time.time_ns()}"))
            self.variables["GATEWAY_DATABASE_URL"] = url
        self.key = ""
        self.dashboard = 0

    def open(self) -> Storefront:
        """Start `up` with the products, for the first time or again."""
        for name, content in (("drums.bin", DRUMS), ("loops.bin", LOOPS)):
            (self.folder / name).write_bytes(content)
        self.start("drums.bin", "loops.bin")
        self.dashboard = found_port(self.errors(), "dashboard_listen")
        if not self.key:
            self.key = self.ask("key", "create", "tests", "--role", "admin")["key"]
        return self

    def close(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.stop()
        self.api.close()

    @property
    def data(self) -> Path:
        """Its data folder."""
        return self.folder / ".download-gateway"

    def web_pid(self) -> int:
        """The web process."""
        [pid] = [each["pid"] for each in self.health()["children"] if each["name"].split()[0] == "web"]
        return int(pid)

    def call_store(self, *words: str) -> bytes:
        """Send a command to the store; returns the first bytes of the reply."""
        with socket.socket(socket.AF_UNIX) as link:
            link.connect(str(next(self.data.rglob("store.sock"))))
            link.sendall(" ".join(words).encode() + b"\r\n")
            return link.recv(4096)

    @contextmanager
    def database_away(self) -> Iterator[None]:
        """PostgreSQL is stopped, or another process holds the lock of SQLite."""
        if self.postgres is not None:
            self.postgres.stop()
            try:
                yield
            finally:
                self.postgres.start()
            return
        other = sqlite3.connect(self.data / DATABASE_FILE, timeout=60, isolation_level=None)
        try:
            other.execute("BEGIN EXCLUSIVE")
            yield
        finally:
            other.close()

    # The seller.

    def admin(self, method: str, path: str, document: Any = None) -> tuple[int, Any]:
        """Status and body of the admin API's answer."""
        return ask(f"http://127.0.0.1:{self.dashboard}/api{path}", document, self.key, method)

    def listed(self, name: str, path: str = "", **query: str) -> list[dict[str, Any]]:
        """A list of the admin API. path: where it is, `/NAME` if not told. While it is away: empty."""
        with contextlib.suppress(OSError):
            status, answer = self.admin("GET", f"{path or f'/{name}'}?{urlencode(query)}")
            assert status in (200, 503), answer
            found: list[dict[str, Any]] = answer.get(name, [])
            return found
        return []

    def connect(self, kind: str, **options: Any) -> dict[str, Any]:
        """Make a connection."""
        options.setdefault("name", f"{kind} {time.time_ns()}")
        body = {"kind": kind, "secrets": [SECRETS[kind]], **options}
        status, answer = self.admin("POST", "/connections", body)
        assert status == 201, answer
        found: dict[str, Any] = answer["connection"]
        return found

    def map(self, connection: dict[str, Any], items: dict[tuple[str, str], str]) -> None:
        """Map items, by key and value, to products."""
        mappings = [
            {"key": key, "value": value, "products": [{"productId": product, "scope": "all"}]}
            for (key, value), product in items.items()
        ]
        path = f"/connections/{connection['id']}/mappings"
        status, answer = self.admin("PUT", path, {"mappings": mappings})
        assert status == 200, answer

    def events(self, connection: dict[str, Any], **query: str) -> list[dict[str, Any]]:
        """What is in a connection's inbox, the newest first."""
        return self.listed("events", f"/connections/{connection['id']}/events", **query)

    def order(self, connection: dict[str, Any], order_id: str) -> dict[str, Any]:
        """An order; empty while there is none."""
        with contextlib.suppress(OSError):
            status, answer = self.admin("GET", f"/orders/{connection['id']}/{order_id}")
            return dict(answer["order"]) if status == 200 else {}
        return {}

    def entitlements(self, email: str) -> dict[str, dict[str, Any]]:
        """A customer's entitlements, by product. Asserts that there is one of each."""
        found = self.listed("entitlements", email=email)
        by_product = {each["productId"]: each for each in found}
        assert len(by_product) == len(found), "an entitlement was doubled"
        return by_product

    def becomes(self, email: str, product: str = "drums.bin", **expected: Any) -> dict[str, Any]:
        """Wait until an entitlement has these values. Returns it."""

        def there() -> dict[str, Any] | None:
            found = self.entitlements(email).get(product)
            return found if found and expected.items() <= found.items() else None

        return wait_until(there, f"{email} has {product} with {expected}") or {}

    # The platform.

    def deliver(
        self, connection: dict[str, Any], payload: Any, headers: dict[str, str] | None = None, **options: Any
    ) -> int | None:
        """Send a signed webhook. Returns the status; None where no answer came.

        payload: a value of JSON, or bytes. options: secret, now, identity of the signature; the port of
        another web process.
        """
        body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        options.setdefault("now", int(time.time()))
        port = options.pop("port", self.dashboard)
        signed = signature(
            connection["kind"], body, options.pop("secret", SECRETS[connection["kind"]]), **options
        )
        path = urlsplit(connection["url"]).path
        url = f"http://127.0.0.1:{port}{path}"
        fields = {"Content-Type": "application/json", **signed, **(headers or {})}
        try:
            with urllib.request.urlopen(urllib.request.Request(url, body, fields), timeout=30) as response:
                return int(response.status)
        except urllib.error.HTTPError as refused:
            with refused:
                return refused.code
        except OSError:
            return None

    def send_junk(self, connection: dict[str, Any], count: int) -> Counter[int]:
        """Send webhooks with wrong signatures, over one connection. Returns how often each status came."""
        body = json.dumps({"id": 1, "note": "x" * 2000}).encode()
        head = (
            f"POST {urlsplit(connection['url']).path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n"
            f"X-Shopify-Hmac-Sha256: {'A' * 43}=\r\n\r\n"
        )
        statuses: Counter[int] = Counter()
        with (
            socket.create_connection(("127.0.0.1", self.dashboard), 60) as link,
            link.makefile("rb") as answers,
        ):
            for _ in range(count):
                link.sendall(head.encode() + body)
                statuses[int(answers.readline().split()[1])] += 1
                while (line := answers.readline()) != b"\r\n":
                    assert not line.lower().startswith(b"content-length:") or line.split()[1] == b"0"
        return statuses

    def deliver_until_taken(
        self, connection: dict[str, Any], payload: Any, headers: dict[str, str] | None = None
    ) -> None:
        """Send a webhook again and again until its answer is 200, as platforms do."""
        taken = partial(self.deliver, connection, payload, headers)
        wait_until(lambda: taken() == 200, "the webhook is taken", 30)

    # The customer.

    def mint(self, entitlement: dict[str, Any], **terms: Any) -> tuple[int, Any]:
        """Mint from an entitlement."""
        return self.admin("POST", f"/entitlements/{entitlement['id']}/download-url", terms)

    def minted(self, entitlement: dict[str, Any]) -> str:
        """A link that was minted from an entitlement."""
        status, answer = self.mint(entitlement)
        assert status == 200, answer
        return str(answer["downloadUrl"])

    def probe(self, url: str) -> int:
        """The status of a request for one byte."""
        request = urllib.request.Request(url, headers={"Range": "bytes=0-0"})
        try:
            with urllib.request.urlopen(request, timeout=30) as response:
                return int(response.status)
        except urllib.error.HTTPError as refused:
            with refused:
                return refused.code

    def fetch(self, url: str) -> bytes:
        """A whole download."""
        with urllib.request.urlopen(url, timeout=60) as response:
            content: bytes = response.read()
        return content

    @contextmanager
    def downloading(self, url: str) -> Iterator[SlowDownload]:
        """A download that has begun, and is read no further than its beginning."""
        running = SlowDownload(url)
        try:
            yield running
        finally:
            running.socket.close()


class SlowDownload:
    """A download of drums.bin whose client takes what the kernel holds, and no more until it is told to."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        assert parts.hostname
        assert parts.port
        self.socket = socket.socket()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 << 10)
        self.socket.settimeout(60)
        self.socket.connect((parts.hostname, parts.port))
        target = f"{parts.path}?{parts.query}" if parts.query else parts.path
        self.socket.sendall(f"GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        head = b""
        while b"\r\n\r\n" not in head:
            data = self.socket.recv(4096)
            assert data, head
            head += data
        head, _, body = head.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200"), head
        self.received = len(body)

    def is_broken(self) -> bool:
        """Whether the server has ended it before all was sent. Reads a little."""
        try:
            self.socket.settimeout(0.2)
            data = self.socket.recv(16 << 10)
        except TimeoutError:
            return False
        except ConnectionError:
            return True
        self.received += len(data)
        return not data and self.received < len(DRUMS)

    def read_rest(self) -> int:
        """Read to the end. Returns how many bytes came in all."""
        self.socket.settimeout(60)
        with contextlib.suppress(ConnectionError):
            while data := self.socket.recv(1 << 20):
                self.received += len(data)
        return self.received
