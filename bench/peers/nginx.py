"""nginx, with Lua and Redis, with no check at all, or before a bucket: as those who run it for speed do."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import ClassVar

from bench.peers.base import Kind, Options, Peer, Server
from bench.testbed.bucket import STORAGE
from bench.testbed.nginx import MODULES, Config, lacking, start_nginx
from bench.testbed.processes import Crew
from bench.testbed.testbed import Ground

LUA_MODULES = ("ndk_http_module.so", "ngx_http_lua_module.so")
LUA = Path(__file__).with_name("nginx_lua")

STATIC_LOCATIONS = """
        location = /auth { return 200; }
        location / { alias $files/; add_header Cache-Control "private, no-transform"; }
"""
LUA_LOCATIONS = """
        location = /download { content_by_lua_block { gate.download() } }
        location = /limited { content_by_lua_block { gate.limited() } }
        location = /auth { content_by_lua_block { gate.auth() } }
        location /protected/ {
            internal;
            alias $files/;
            add_header Cache-Control "private, no-transform";
            add_header Content-Disposition attachment;
        }
"""
LUA_HTTP = """
    lua_package_path "$lua/?.lua;;";
    lua_socket_log_errors off;
    init_by_lua_block { gate = require("gate").new("$redis", "$script") }
"""
PROXY_HTTP = """
    upstream bucket {
        server $authority;
        keepalive 64;
        keepalive_requests 1000000000;
    }
    proxy_http_version 1.1;
    proxy_set_header Connection "";
    proxy_set_header Host $authority;
    proxy_max_temp_file_size 0;  # a slow client shall not fill the disk
    proxy_buffer_size 64k;
    proxy_buffers 8 256k;
    proxy_busy_buffers_size 1m;
"""
PROXY_LOCATIONS = """
        location / {
            proxy_buffering off;  # with 64k the fastest of the ways tried, see ../README.md
            proxy_pass http://bucket/$bucket$$uri;
            add_header Cache-Control "private, no-transform";
        }
"""
CACHE_HTTP = """
    proxy_cache_path $folder/cache levels=1:2 keys_zone=objects:16m max_size=8g inactive=7d use_temp_path=off;
"""
CACHE_LOCATIONS = """
        location / {
            slice 8m;
            proxy_cache objects;
            proxy_cache_key $$uri$$slice_range;
            proxy_cache_valid 200 206 7d;
            proxy_cache_lock on;
            proxy_set_header Connection "";
            proxy_set_header Host $authority;
            proxy_set_header Range $$slice_range;
            proxy_pass http://bucket/$bucket$$uri;
            add_header Cache-Control "private, no-transform";
        }
"""


class NginxStatic(Peer):
    """No token, no check: what sending the bytes alone costs."""

    name = "nginx-static"
    title = "nginx, no check (the ceiling)"
    checks = False
    kinds: ClassVar = frozenset((Kind.DOWNLOAD, Kind.AUTH))

    def missing(self, options: Options) -> str | None:
        """Nginx has to be there."""
        del options
        return lacking()

    def target(self, kind: Kind, token: str, name: str) -> tuple[str, dict[str, str]]:
        """The file by its name; the token rides along, so that the requests are as long as the others'."""
        if kind is Kind.AUTH:
            return super().target(kind, token, name)
        return f"/{name}?token={token}", {}

    def start(self, ground: Ground, crew: Crew, options: Options) -> Server:
        config = self.config(ground, options)
        program, port = start_nginx(self.name, config, folder=ground.folder, crew=crew, cpus=options.cpus)
        return Server(self, program, port, options.tls is not None)

    def config(self, ground: Ground, options: Options) -> Config:
        """What it is configured with."""
        return Config(
            STATIC_LOCATIONS,
            values={"files": ground.files},
            workers=options.workers,
            tls=options.tls,
            bulk=options.bulk,
        )


class NginxLua(NginxStatic):
    """The usual fast answer: the token looked up from Lua, then an internal redirect to the file."""

    name = "nginx-lua"
    title = "nginx + Lua + Redis"
    checks = True
    kinds: ClassVar = frozenset((Kind.DOWNLOAD, Kind.LIMITED, Kind.AUTH))

    def missing(self, options: Options) -> str | None:
        """The Lua module has to be there too."""
        if all((MODULES / name).exists() for name in LUA_MODULES):
            return super().missing(options)
        return "nginx's Lua module is missing: apt-get install nginx libnginx-mod-http-lua"

    def target(self, kind: Kind, token: str, name: str) -> tuple[str, dict[str, str]]:
        """As everyone's."""
        return Peer.target(self, kind, token, name)

    def config(self, ground: Ground, options: Options) -> Config:
        """The same, and the modules."""
        own = {"lua": LUA, "redis": ground.socket, "script": ground.count_script}
        plain = super().config(ground, options)
        return replace(
            plain,
            locations=LUA_LOCATIONS,
            http=LUA_HTTP,
            modules=LUA_MODULES,
            values={**plain.values, **own},
        )


class NginxProxy(NginxStatic):
    """A reverse proxy before the bucket: no token, no check, no signature."""

    name = "nginx-proxy"
    title = "nginx, reverse proxy"
    kinds: ClassVar = frozenset((Kind.DOWNLOAD,))
    local = False

    def config(self, ground: Ground, options: Options) -> Config:
        """Kept connections to the bucket, and buffers."""
        return replace(
            super().config(ground, options),
            locations=PROXY_LOCATIONS,
            http=PROXY_HTTP,
            values={"bucket": STORAGE, "authority": ground.bucket().authority},
        )


class NginxCache(NginxProxy):
    """The same with a cache of slices on the disk."""

    name = "nginx-cache"
    title = "nginx, reverse proxy with proxy_cache and slice"

    def config(self, ground: Ground, options: Options) -> Config:
        """Slices as large as the gateway's."""
        return replace(
            super().config(ground, options), locations=CACHE_LOCATIONS, http=PROXY_HTTP + CACHE_HTTP
        )
