"""What one would write first: an aiohttp application, redis-py, FileResponse.

The bench starts it with the arguments REDIS_SOCKET FOLDER SCRIPT. It listens on any free port.
"""

from __future__ import annotations

import asyncio
import hashlib
import sys
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import uvloop
from aiohttp import web
from redis import asyncio as aioredis

HEADERS = {"Content-Disposition": "attachment", "Cache-Control": "private, no-transform"}


def identify(token: str) -> str:
    """The token's id: its hash, so that the store never holds the token."""
    return hashlib.sha256(token.encode()).hexdigest()[:32]


def build(redis_socket: str, folder: Path, script: str) -> web.Application:
    """The application with its three routes."""
    redis: Any = aioredis.Redis(unix_socket_path=redis_socket, decode_responses=True)
    count = redis.register_script(script)

    def send(name: str | None) -> web.StreamResponse:
        if not name:
            raise web.HTTPForbidden
        return web.FileResponse(folder / name, headers=HEADERS)

    async def download(request: web.Request) -> web.StreamResponse:
        return send(await redis.get(f"bench:file:{identify(request.query.get('token', ''))}"))

    async def limited(request: web.Request) -> web.StreamResponse:
        return send(await count(keys=[f"bench:limited:{identify(request.query.get('token', ''))}"]))

    async def auth(request: web.Request) -> web.StreamResponse:
        query = parse_qs(urlsplit(request.headers.get("X-Original-URI", "")).query)
        name = await redis.get(f"bench:file:{identify(query.get('token', [''])[0])}")
        if name is None:
            raise web.HTTPForbidden
        return web.Response(headers={"X-Accel-File": name})

    app = web.Application()
    app.router.add_get("/download", download)
    app.router.add_get("/limited", limited)
    app.router.add_get("/auth", auth)
    return app


def main(redis_socket: str, folder: str, script: str) -> None:
    """Serve until SIGTERM."""
    loop = uvloop.new_event_loop()
    asyncio.set_event_loop(loop)
    app = build(redis_socket, Path(folder), script)
    web.run_app(
        app,
        host="127.0.0.1",
        port=0,
        access_log=None,
        print=None,
        loop=loop,
        shutdown_timeout=0.1,
        backlog=4096,
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
