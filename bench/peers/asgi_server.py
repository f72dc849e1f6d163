"""The same on ASGI: Starlette's routes and FileResponse, redis-py, and uvicorn with its fast parts.

The bench starts it with the arguments REDIS_SOCKET FOLDER SCRIPT. It listens on any free port.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import uvicorn
from redis import asyncio as aioredis
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route

from bench.peers.plain_server import HEADERS, identify


def build(redis_socket: str, folder: Path, script: str) -> Starlette:
    """The application with its three routes."""
    redis: Any = aioredis.Redis(unix_socket_path=redis_socket, decode_responses=True)
    count = redis.register_script(script)

    def send(name: str | None) -> Response:
        if not name:
            return Response(status_code=403)
        return FileResponse(folder / name, headers=HEADERS)

    async def download(request: Request) -> Response:
        return send(await redis.get(f"bench:file:{identify(request.query_params.get('token', ''))}"))

    async def limited(request: Request) -> Response:
        return send(await count(keys=[f"bench:limited:{identify(request.query_params.get('token', ''))}"]))

    async def auth(request: Request) -> Response:
        query = parse_qs(urlsplit(request.headers.get("x-original-uri", "")).query)
        name = await redis.get(f"bench:file:{identify(query.get('token', [''])[0])}")
        return Response(headers={"X-Accel-File": name}) if name else Response(status_code=403)

    return Starlette(routes=[Route("/download", download), Route("/limited", limited), Route("/auth", auth)])


def main(redis_socket: str, folder: str, script: str) -> None:
    """Serve until SIGTERM."""
    uvicorn.run(
        build(redis_socket, Path(folder), script),
        host="127.0.0.1",
        port=0,
        loop="uvloop",
        http="httptools",
        ws="none",
        lifespan="off",
        access_log=False,
        log_level="error",
        backlog=4096,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=1,
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
