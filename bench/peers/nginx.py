"""nginx: with Lua and Redis, without any check, or before a bucket; as people configure it for speed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import ClassVar

from bench.peers.base import Peer, RequestKind, Server, StartOptions
from bench.testbed.bucket import STORAGE
from bench.testbed.nginx import MODULES, Config, missing_nginx, start_nginx
from bench.testbed.processes import ProcessGroup
from bench.testbed.testbed import Testbed

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
    proxy_max_temp_file_size 0;  # or a slow client would fill the disk
    proxy_buffer_size 64k;
    proxy_buffers 8 256k;
    proxy_busy_buffers_size 1m;
"""
PROXY_LOCATIONS = """
        location / {
            proxy_buffering off;  # with buffers of 64k the fastest way tried: docs/decisions/0014
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
    """It checks no token: what sending the bytes alone costs."""

    name = "nginx-static"
    title = "nginx, no check (the ceiling)"
    checks = False
    kinds: ClassVar = frozenset((RequestKind.DOWNLOAD, RequestKind.AUTH))

    def missing(self, options: StartOptions) -> str | None:
        """Only nginx is needed, whatever the options."""
        del options
        return missing_nginx()

    def target(self, kind: RequestKind, token: str, name: str) -> tuple[str, dict[str, str]]:
        """The file by its name. The token is sent too, so that requests are as long as to other peers."""
        if kind is RequestKind.AUTH:
            return super().target(kind, token, name)
        return f"/{name}?token={token}", {}

    def start(self, testbed: Testbed, processes: ProcessGroup, options: StartOptions) -> Server:
        config = self.config(testbed, options)
        program, port = start_nginx(
            self.name, config, folder=testbed.folder, processes=processes, cpus=options.cpus
        )
        return Server(self, program, port, options.tls is not None)

    def config(self, testbed: Testbed, options: StartOptions) -> Config:
        """Its configuration."""
        return Config(
            STATIC_LOCATIONS,
            values={"files": testbed.files},
            workers=options.workers,
            tls=options.tls,
            bulk=options.bulk,
        )


class NginxLua(NginxStatic):
    """The usual fast solution: Lua looks up the token, and an internal redirect sends the file."""

    name = "nginx-lua"
    title = "nginx + Lua + Redis"
    checks = True
    kinds: ClassVar = frozenset((RequestKind.DOWNLOAD, RequestKind.LIMITED, RequestKind.AUTH))

    def missing(self, options: StartOptions) -> str | None:
        """Nginx and its Lua module are needed."""
        if all((MODULES / name).exists() for name in LUA_MODULES):
            return super().missing(options)
        return "nginx's Lua module is missing: apt-get install nginx libnginx-mod-http-lua"

    def target(self, kind: RequestKind, token: str, name: str) -> tuple[str, dict[str, str]]:
        """The same as of every other peer."""
        return Peer.target(self, kind, token, name)

    def config(self, testbed: Testbed, options: StartOptions) -> Config:
        """The same, with the Lua modules."""
        own = {"lua": LUA, "redis": testbed.socket, "script": testbed.count_script}
        plain = super().config(testbed, options)
        return replace(
            plain,
            locations=LUA_LOCATIONS,
            http=LUA_HTTP,
            modules=LUA_MODULES,
            values={**plain.values, **own},
        )


class NginxProxy(NginxStatic):
    """A reverse proxy before the bucket. It checks no token, and signs nothing."""

    name = "nginx-proxy"
    title = "nginx, reverse proxy"
    kinds: ClassVar = frozenset((RequestKind.DOWNLOAD,))
    local = False

    def config(self, testbed: Testbed, options: StartOptions) -> Config:
        """Connections to the bucket that are kept, and buffers."""
        return replace(
            super().config(testbed, options),
            locations=PROXY_LOCATIONS,
            http=PROXY_HTTP,
            values={"bucket": STORAGE, "authority": testbed.bucket().authority},
        )


class NginxCache(NginxProxy):
    """The same, with a cache of slices on the disk."""

    name = "nginx-cache"
    title = "nginx, reverse proxy with proxy_cache and slice"

    def config(self, testbed: Testbed, options: StartOptions) -> Config:
        """The slices are as large as the gateway's."""
        return replace(
            super().config(testbed, options), locations=CACHE_LOCATIONS, http=PROXY_HTTP + CACHE_HTTP
        )
