"""What tests of downloads share: objects that are published, and bytes that were sent."""

from __future__ import annotations

import os
from typing import Any

from gateway.manifest import Manifest, ManifestFile
from gateway.secrets import token_id
from tests.support.bucket_objects import Pattern
from tests.support.faulty_bucket import BUCKET, Upstream
from tests.support.http_client import Client, request
from tests.support.plane import Plane
from tests.support.publications import Published

CONTENT = b"The quick brown fox jumps over the lazy dog. " * 3
BROWSER = "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
JSON = "Accept: application/json"
POLICY = {
    "default-src 'none'",
    "style-src 'unsafe-inline'",
    "img-src data:",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
}
LARGE = os.urandom(5_000_000)
"""What the fixture `large` has published."""
IN_FLIGHT = 12_000_000
"""The largest send and receive buffers that the kernel gives (tcp_wmem, tcp_rmem): 4 and 6 MiB."""


def sum_sent(plane: Plane, link: str) -> int:
    return sum(sent_of(plane, link))


def sent_of(plane: Plane, link: str) -> list[int]:
    identifier = token_id(link.partition("=")[2])
    return [entry["sent"] for entry in plane.entries() if entry.get("token") == identifier]


def table(upstream: Upstream, **more: Any) -> dict[str, Any]:
    bucket = upstream.bucket()
    scheme = "https" if bucket.tls else "http"
    return {
        "type": "s3",
        "bucket": BUCKET,
        "endpoint": f"{scheme}://{bucket.host}:{bucket.port}",
        "access_key": "key",
        "secret_key": "secret",
        "ca_file": bucket.ca_file,
        "read_timeout": 30,
        **more,
    }


def publish(plane: Plane, file: ManifestFile, product: str = "product") -> Published:
    manifest = Manifest(product, "1.0", (file,))
    plane.store.set(f"dg:manifest:{{{manifest.digest}}}", manifest.text)
    return Published(manifest, [])


def begin(plane: Plane, target: str, length: int = 100_000) -> tuple[Client, bytes]:
    """A download under way: its first bytes are read, and the client's buffers are small."""
    client = plane.connect(receive_buffer=65536)
    client.send(request(target))
    assert client.read_head().status == 200
    return client, client.read_bytes(length)


def read_all(client: Client, target: str, content: bytes | Pattern) -> None:
    """Download, and compare each part with the content as it arrives."""
    client.send(request(target))
    answer = client.read_head()
    assert (answer.status, int(answer["Content-Length"])) == (200, len(content))
    at = 0
    while at < len(content):
        length = min(1 << 20, len(content) - at)
        assert client.read_bytes(length) == content[at : at + length], f"from byte {at} on"
        at += length
