"""What mint and web, which run on `gateway.web.server`, do with a connection before they read a request."""

from __future__ import annotations

import json
import socket

import pytest

from gateway.config.settings import Settings
from gateway.mint import service as mint_service
from gateway.tokens.repositories import Repositories
from gateway.web import service as web_service
from tests.support.control_plane import Serve, listen, manifest

RESET = b"\1\0\0\0\0\0\0\0"


@pytest.mark.parametrize("serve", [mint_service.serve, web_service.serve], ids=["mint", "web"])
async def test_a_peer_that_has_no_address_any_more_gets_nothing(
    serve: Serve, settings: Settings, repos: Repositories
) -> None:
    """A client resets its connection before it is accepted. Then the socket does not name its peer."""
    await repos.products.register(manifest("drums", "1.0.0"))
    key = (await repos.keys.create("tests")).key
    token = (await repos.tokens.create("drums")).record.id
    body = json.dumps({"productId": "drums"})
    fields = f"Host: x\r\nAuthorization: Bearer {key}\r\nContent-Type: application/json\r\n"
    requests = (
        f"POST /api/generate-download-url HTTP/1.1\r\n{fields}Content-Length: {len(body)}\r\n\r\n{body}",
        f"DELETE /api/downloads/tokens/{token} HTTP/1.1\r\n{fields}\r\n",
    )
    sock = listen()
    for request in requests:
        with socket.create_connection(sock.getsockname()) as client:
            client.sendall(request.encode())
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    before = await repos.client.call("KEYS", "dg:token:*")
    async with serve(repos, [sock], settings), Repositories.connect(settings.redis_url or "") as other:
        for _ in range(20):
            await other.client.ping()
    assert await repos.client.call("KEYS", "dg:token:*") == before
    record = await repos.tokens.get(token)
    assert record is not None
    assert record.revoked is None
