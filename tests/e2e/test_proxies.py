"""The examples of config/caddy, haproxy and varnish, as they are, in real proxies before a real worker.

And proxies that are set up wrongly, as `check --proxy` sees them.
"""

from __future__ import annotations

import http.client
import os
import socket
import subprocess
from base64 import b64encode
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from gateway.cli.checks import Level
from gateway.cli.checks.proxy import Target, check_cost
from tests.support.http_client import Client, Response, request
from tests.support.link_forms import link_forms
from tests.support.plane import Plane
from tests.support.ports import ReservedPort
from tests.support.programs import need
from tests.support.range_cases import FRONT_PROXY_FIELDS, FRONT_PROXY_SIZE, file_bytes
from tests.support.store_server import StoreServer
from tests.support.waiting import wait_until
from tests.support.web_stand_in import WebStandIn

CONFIG = Path(__file__).parents[2] / "config"
CONTENT = os.urandom(300_000)
UNKNOWN = "/download?token=ct_" + "x" * 43


class Example(NamedTuple):
    """A proxy's example; only its addresses are changed, and what keeps Caddy from ports of its own.

    path: below config/, or the text itself. command: begins the proxy, with its port and its folder filled
    in; the file of its configuration follows. address, listens: what says where it listens, and what to
    write for it. gateway: what says where the gateway listens.
    """

    path: str
    command: tuple[str, ...]
    address: str = ""
    listens: str = ""
    before: str = ""
    gateway: str = "127.0.0.1:{} "


EXAMPLES = {
    "caddy": Example(
        "caddy/Caddyfile",
        ("caddy", "run", "--adapter", "caddyfile", "--config"),
        "downloads.example.com {",
        "http://:{} {{",
        "{\n\tadmin off\n\tdefault_bind 127.0.0.1\n}\n",
    ),
    "haproxy": Example("haproxy/haproxy.cfg", ("haproxy", "-db", "-f"), "bind :80\n", "bind 127.0.0.1:{}\n"),
    "varnish": Example(
        "varnish/default.vcl",
        (
            "varnishd",
            "-F",
            "-j",
            "none",
            "-n",
            "{folder}/varnish",
            "-a",
            "127.0.0.1:{port}",
            "-s",
            "malloc,64m",
            "-f",
        ),
        gateway='.port = "{}";',
    ),
}

VARNISH = EXAMPLES["varnish"]._replace(
    path='vcl 4.1;\nbackend gateway { .host = "127.0.0.1"; .port = "8080"; }\n'
)
NGINX = Example(
    "",
    ("nginx", "-p", "{folder}", "-e", "{folder}/log", "-c"),
    "listen 80;",
    "listen 127.0.0.1:{};",
    f"daemon off; pid nginx.pid; {'' if os.geteuid() else 'user root;'} worker_processes 1; events {{}}\n",
    "127.0.0.1:{};",
)
NGINX_SERVER = """http {
    access_log off;
    proxy_temp_path temp; client_body_temp_path body;
    fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi; scgi_temp_path scgi;
    proxy_cache_path cache keys_zone=kept:1m;
    proxy_http_version 1.1;
    server {
        listen 80;
        location / {
            proxy_pass http://127.0.0.1:8080;
            RULES
        }
    }
}
"""
CACHED = "proxy_cache kept; proxy_cache_valid any 1m; proxy_ignore_headers Cache-Control Expires;"
WRONG: dict[str, tuple[Example | str, str]] = {
    "varnish as it comes": (VARNISH, "the proxy fetches more"),
    "nginx with a cache": ("proxy_cache kept;", "the proxy fetches more"),
    "nginx with a cache for everything": (CACHED, "the proxy fetches more"),
    "nginx with a cache of ranges": (
        f"{CACHED} proxy_cache_key $uri$is_args$args$http_range; proxy_set_header Range $http_range;",
        "a cache answers",
    ),
    "nginx that makes ranges itself": ('proxy_force_ranges on; proxy_set_header Range "";', "fetches more"),
    "nginx that passes all on": ("", ""),
}
"""What stands before the gateway, and what `check --proxy` says about what a range costs there."""

FORWARD_AUTH = """
downloads.example.com {
	route {
		forward_auth 127.0.0.1:8080 {
			uri /auth
			copy_headers X-Gateway-Key
		}
		rewrite * /{http.request.header.X-Gateway-Key}
		root * ROOT
		file_server
	}
}
"""
"""Caddy asks the gateway and sends the files itself."""


class Front:
    """One proxy before a plane."""

    def __init__(self, example: Example, plane: Plane, folder: Path) -> None:
        self._reserved = ReservedPort()
        self.address = ("127.0.0.1", self._reserved.number)
        self.plane = plane
        self.log = folder / "log"
        text = example.path.replace("ROOT", str(plane.root))
        if "\n" not in text:
            text = (CONFIG / text).read_text()
        for found, made in (
            (example.address, example.listens.format(self.address[1])),
            (example.gateway.format(8080), example.gateway.format(plane.address[1])),
        ):
            assert found in text
            text = text.replace(found, made) if found else text
        config = folder / "config"
        config.write_text(example.before + text)
        program, *options = (each.format(port=self.address[1], folder=folder) for each in example.command)
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [need(program), *options, str(config)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=os.environ | dict.fromkeys(("HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME"), str(folder)),
            )
        wait_until(self._listens, f"{program} listens")

    def _listens(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()
        with socket.socket() as probe:
            return probe.connect_ex(self.address) == 0

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(60)
        self._reserved.close()

    def get(self, target: str, *fields: str, method: str = "GET") -> Response:
        with Client(self.address) as client:
            return client.get(target, *fields, method=method)


@pytest.fixture(params=EXAMPLES)
def front(
    request: pytest.FixtureRequest, make_plane: Callable[..., Plane], tmp_path: Path
) -> Iterator[Front]:
    """A worker that trusts this machine, and the proxy before it."""
    example = EXAMPLES[request.param]
    need(example.command[0])
    folder = tmp_path / request.param
    folder.mkdir()
    running = Front(example, make_plane(trusted_proxies="127.0.0.1"), folder)
    yield running
    running.stop()
    assert "ct_" not in running.log.read_text()


def test_links_with_the_token_in_the_path_and_with_something_glued(front: Front) -> None:
    """And no log has the token, in whatever form the link came: see `front`."""
    token = front.plane.token(front.plane.publish(CONTENT, names=["kit 1.zip"]))
    password = b64encode(f"any:{token}".encode()).decode()
    for target, *fields in (*zip(link_forms(token)), ("/download", f"Authorization: Basic {password}")):
        answer = front.get(target, "Range: bytes=5-9", *fields)
        assert (answer.status, answer.body) == (206, CONTENT[5:10]), target


def test_downloads_and_refusals_come_through_as_they_are(front: Front) -> None:
    published = front.plane.publish(CONTENT, names=['Épic "Kit".zip'])
    link = front.plane.link(published, maximum=1)
    direct = front.plane.get(link, method="HEAD")
    whole = front.get(link, "Accept-Encoding: gzip, zstd", "Forwarded: for=6.6.6.6")
    assert (whole.status, whole.body) == (200, CONTENT)
    lost = {(name.lower(), value) for name, value in direct.lines} - {
        (name.lower(), value) for name, value in whole.lines
    }
    assert {name for name, _ in lost} <= {"date"}

    part = front.get(link, "Range: bytes=299000-", f"If-Range: {published.etag}")
    assert (part.status, part.body) == (206, CONTENT[299_000:])
    several = front.get(link, "Range: bytes=0-9,20-29")
    assert several["Content-Type"].startswith("multipart/byteranges")
    head = front.get(link, method="HEAD")
    assert (head.status, head["Content-Length"]) == (200, str(len(CONTENT)))
    wait_until(lambda: front.plane.charged(link) == len(CONTENT) + 1000 + 20, "it is charged exactly")

    assert front.get("/download").code == "token_missing"
    assert front.get(UNKNOWN).code == "token_invalid"
    assert front.get(link.replace("/download", "/download/other")).code == "file_not_found"
    refused = front.get(link)
    assert (refused.status, refused.code) == (403, "limit_reached")
    assert front.get(link, "Content-Length: 0", method="POST")["Allow"] == "GET, HEAD"
    for target in ("/auth", "/healthz", "/metrics", "/"):
        asked = http.client.HTTPConnection(*front.address, timeout=60)  # HAProxy's own answer has no Date
        asked.request("GET", target)
        assert asked.getresponse().status == 404
        asked.close()


def test_webhooks_and_pages_reach_the_web_process(front: Front) -> None:
    body = os.urandom(200_000)
    with WebStandIn(front.plane.folder / "data" / "web.sock") as web:
        with Client(front.address) as client:
            client.send(request("/hooks/a/very-secret", f"Content-Length: {len(body)}", method="POST") + body)
            assert (client.read().status, web.taken[0].body) == (200, body)
        for target in ("/my", "/my/orders?x=1", "/.well-known/jwks.json"):
            assert front.get(target).status == 200
        for target in ("/api/orders", "/mys", "/hooks/../api/orders"):
            with Client(front.address) as client:
                client.send(request(target, "Connection: close"))
                assert client.read_until_closed()[9:12] in (b"400", b"404")
    assert [each.split(b" ")[1] for each in web.heads] == [
        b"/hooks/a/very-secret", b"/my", b"/my/orders?x=1", b"/.well-known/jwks.json",
    ]  # fmt: skip
    assert b"\r\nX-Forwarded-For: 127.0.0.1\r\n" in web.heads[0]
    assert "very-secret" not in front.log.read_text()
    answer = front.get("/hooks/a")
    assert (answer.status, answer.code) == (503, "web_unavailable")


def test_the_store_is_away(front: Front, own_store: StoreServer) -> None:
    link = front.plane.link(front.plane.publish(CONTENT))
    front.plane.expected.append("store")
    own_store.stop()
    refused = front.get(link)
    own_store.start()
    assert (refused.status, refused.code) == (503, "store_unavailable")
    assert int(refused["Retry-After"]) > 0


@pytest.mark.slow
@pytest.mark.parametrize("name", WRONG)
def test_check_sees_what_a_range_costs(make_plane: Callable[..., Plane], tmp_path: Path, name: str) -> None:
    example, found = WRONG[name]
    if isinstance(example, str):
        example = NGINX._replace(path=NGINX_SERVER.replace("RULES", example))
    need(example.command[0])
    plane = make_plane(trusted_proxies="127.0.0.1")
    front = Front(example, plane, tmp_path)
    try:
        published = plane.publish(CONTENT)
        token = plane.token(published, maximum=1000)
        target = Target("http://{}:{}".format(*front.address), published.file, token)
        finding = check_cost(target, lambda: plane.charged(token))
    finally:
        front.stop()
    assert (finding.level is Level.FAIL, found in finding.text) == (bool(found), True), finding


@pytest.mark.slow
def test_caddy_sends_no_more_than_is_charged(make_plane: Callable[..., Plane], tmp_path: Path) -> None:
    """Where Caddy asks the gateway and sends the files itself, it does not merge ranges."""
    need("caddy")
    plane = make_plane(trusted_proxies="127.0.0.1")
    front = Front(EXAMPLES["caddy"]._replace(path=FORWARD_AUTH), plane, tmp_path)
    try:
        published = plane.publish(os.urandom(FRONT_PROXY_SIZE))
        link = plane.link(published, maximum=1000)
        for fields in FRONT_PROXY_FIELDS:
            before = plane.charged(link)
            answer = front.get(link, *fields)
            charged = plane.charged(link) - before
            kind = answer.get("Content-Type") or ""
            sent = file_bytes(kind, answer.body) if answer.status in (200, 206) else 0
            assert sent <= charged <= FRONT_PROXY_SIZE, (fields, answer.status)
        before = plane.charged(link)
        assert front.get(link, method="HEAD").status == 200
        assert plane.charged(link) == before
        assert front.get(link, *FRONT_PROXY_FIELDS[0]).status == 206
        assert plane.charged(link) - before == 16 * 62_500
    finally:
        front.stop()
