"""A real nginx with an example of config/nginx, before a worker."""

from __future__ import annotations

import json
import os
import socket
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from gateway.http.file_names import media_type
from gateway.manifest import Manifest
from tests.support.http_client import Client, Response
from tests.support.plane import Plane
from tests.support.ports import ReservedPort
from tests.support.programs import need
from tests.support.publications import Published
from tests.support.waiting import wait_until

EXAMPLES = Path(__file__).parents[2] / "config" / "nginx"
CONTENT = os.urandom(300_000)
TEMPORARY = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")


@dataclass
class Nginx:
    """One nginx with one of the examples; only addresses and paths are changed."""

    example: str
    folder: Path
    plane: Plane
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def access_log(self) -> Path:
        return self.folder / "downloads.log"

    @property
    def error_log(self) -> Path:
        return self.folder / "error.log"

    def start(self, more_changes: Mapping[str, str]) -> None:
        self.reserved = ReservedPort()
        self.address = ("127.0.0.1", self.reserved.number)
        temporary = "".join(f"{name}_temp_path {self.folder}/{name}; " for name in TEMPORARY)
        changes = {
            "server 127.0.0.1:8080 ": "server {}:{} ".format(*self.plane.address),
            "listen 80;": "listen {}:{};".format(*self.address),
            "/var/log/nginx/": f"{self.folder}/",
            "files   /srv/downloads;": f"main {self.plane.root};",
            "http {": f"http {{ {temporary}",
            "worker_processes auto;": "worker_processes 1;",
            **more_changes,
        }
        text = (EXAMPLES / self.example).read_text()
        for found, made in changes.items():
            assert found in text or "srv" in found, found
            text = text.replace(found, made)
        config = self.folder / "nginx.conf"
        config.write_text(text)
        more = f"daemon off; pid {self.folder}/nginx.pid; " + ("user root; " if os.geteuid() == 0 else "")
        self.process = subprocess.Popen(
            [need("nginx"), "-p", str(self.folder), "-c", str(config), "-g", more, "-e", str(self.error_log)],
            stdin=subprocess.DEVNULL,
        )
        wait_until(self._listens, "nginx listens")

    def _listens(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self.error_log.read_text()
        with socket.socket() as probe:
            return probe.connect_ex(self.address) == 0

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.wait(60)
        self.reserved.close()

    def connect(self, receive_buffer: int = 0) -> Client:
        return Client(self.address, receive_buffer)

    def get(self, target: str, *fields: str, method: str = "GET") -> Response:
        with self.connect() as client:
            return client.get(target, *fields, method=method)

    def entries(self, count: int) -> list[dict[str, Any]]:
        """The access log, once it has that many lines."""
        wait_until(lambda: self.access_log.read_bytes().count(b"\n") >= count, f"{count} requests are logged")
        return [json.loads(line) for line in self.access_log.read_text().splitlines()]


def publish_as(plane: Plane, key: str) -> Published:
    """A file with this key, and a name like it."""
    plain = plane.publish(CONTENT)
    path = plane.root / key
    path.parent.mkdir(parents=True, exist_ok=True)
    plain.path.rename(path)
    manifest = Manifest("product", "1", (replace(plain.file, key=key, name=path.name, type=media_type(key)),))
    plane.store.set(f"dg:manifest:{{{manifest.digest}}}", manifest.text)
    return Published(manifest, [path])
