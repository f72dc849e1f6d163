"""nginx, with Lua and Redis or with no check at all, configured as those who run it for speed do."""

from __future__ import annotations

import getpass
import os
import resource
from pathlib import Path
from string import Template
from typing import ClassVar

from bench.ground import Ground
from bench.machine import tool_path
from bench.peers.base import Kind, Options, Peer, Server
from bench.processes import Crew, free_port

MODULES = Path("/usr/lib/nginx/modules")
LUA_MODULES = ("ndk_http_module.so", "ngx_http_lua_module.so")
LUA = Path(__file__).with_name("nginx_lua")
TEMPLATE = Template(Path(__file__).with_name("nginx.conf").read_text())

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


class NginxStatic(Peer):
    """No token, no check: what sending the bytes alone costs."""

    name = "nginx-static"
    title = "nginx, no check (the ceiling)"
    checks = False
    kinds: ClassVar = frozenset((Kind.DOWNLOAD, Kind.AUTH))

    def missing(self, options: Options) -> str | None:
        """Nginx has to be there."""
        del options
        return None if tool_path("nginx") else "nginx is missing: apt-get install nginx"

    def target(self, kind: Kind, token: str, name: str) -> tuple[str, dict[str, str]]:
        """The file by its name; the token rides along, so that the requests are as long as the others'."""
        if kind is Kind.AUTH:
            return super().target(kind, token, name)
        return f"/{name}?token={token}", {}

    def start(self, ground: Ground, crew: Crew, options: Options) -> Server:
        port = free_port()
        folder = ground.folder / f"{self.name}-{port}"
        folder.mkdir()
        values = {"files": ground.files, **self._values(ground)}
        certificate, key = options.tls or ("", "")
        text = TEMPLATE.substitute(
            user=f"user {getpass.getuser()};" if os.geteuid() == 0 else "",
            modules="".join(f"load_module {MODULES / name};\n" for name in self._modules()),
            folder=folder,
            port=port,
            workers=options.workers,
            nopush="off" if options.bulk else "on",
            connections=min(16384, resource.getrlimit(resource.RLIMIT_NOFILE)[0]),
            ssl=" ssl" if options.tls else "",
            tls=f"ssl_certificate {certificate};\n        ssl_certificate_key {key};" if options.tls else "",
            http=Template(self._http()).substitute(values),
            locations=Template(self._locations()).substitute(values),
        )
        config = folder / "nginx.conf"
        config.write_text(text)
        nginx = tool_path("nginx") or "nginx"
        program = crew.start(self.name, [nginx, "-p", folder, "-c", config], cpus=options.cpus)
        program.wait_for("127.0.0.1", port)
        return Server(self, program, port, options.tls is not None)

    def _modules(self) -> tuple[str, ...]:
        return ()

    def _http(self) -> str:
        return ""

    def _locations(self) -> str:
        return STATIC_LOCATIONS

    def _values(self, ground: Ground) -> dict[str, object]:
        del ground
        return {}


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

    def _modules(self) -> tuple[str, ...]:
        return LUA_MODULES

    def _http(self) -> str:
        return LUA_HTTP

    def _locations(self) -> str:
        return LUA_LOCATIONS

    def _values(self, ground: Ground) -> dict[str, object]:
        return {"lua": LUA, "redis": ground.socket, "script": ground.count_script}
