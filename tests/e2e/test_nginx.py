"""The examples of config/nginx, as they are, in a real nginx before a real worker."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from gateway.cli.checks import Level
from gateway.cli.checks.proxy import Target, check_proxy
from gateway.http.file_names import media_type
from gateway.manifest import Manifest
from gateway.runtime.metrics import BYTES_SENT
from tests.support.downloads import publish, table
from tests.support.faulty_bucket import Upstream
from tests.support.http_client import Client, Response, request
from tests.support.link_forms import LINKS, link_forms
from tests.support.plane import Plane
from tests.support.ports import ReservedPort
from tests.support.programs import need
from tests.support.publications import Published
from tests.support.range_cases import FRONT_PROXY_FIELDS, FRONT_PROXY_SIZE, apart, file_bytes
from tests.support.store_server import StoreServer
from tests.support.timing import lasts
from tests.support.waiting import wait_until
from tests.support.web_stand_in import WebStandIn

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


@pytest.fixture
def start(make_plane: Callable[..., Plane], tmp_path: Path) -> Iterator[Callable[..., Nginx]]:
    """Starts a worker that trusts this machine, and nginx with an example before it."""
    running: list[Nginx] = []

    def make(example: str, changes: Mapping[str, str] | None = None, **options: Any) -> Nginx:
        need("nginx")
        plane = make_plane(trusted_proxies="127.0.0.1", **options)
        folder = tmp_path / f"nginx-{len(running)}"
        folder.mkdir()
        nginx = Nginx(example, folder, plane)
        running.append(nginx)
        nginx.start(changes or {})
        return nginx

    yield make
    for nginx in running:
        nginx.stop()
        assert "ct_" not in nginx.error_log.read_text()
        assert "ct_" not in (nginx.access_log.read_text() if nginx.access_log.exists() else "")


BOTH = pytest.mark.parametrize("example", ["auth_request.conf", "proxy.conf"])


def publish_as(plane: Plane, key: str) -> Published:
    """A file with this key, and a name like it."""
    plain = plane.publish(CONTENT)
    path = plane.root / key
    path.parent.mkdir(parents=True, exist_ok=True)
    plain.path.rename(path)
    manifest = Manifest("product", "1", (replace(plain.file, key=key, name=path.name, type=media_type(key)),))
    plane.store.set(f"dg:manifest:{{{manifest.digest}}}", manifest.text)
    return Published(manifest, [path])


@BOTH
def test_a_file_whole_in_parts_and_resumed(start: Callable[[str], Nginx], example: str) -> None:
    nginx = start(example)
    published = nginx.plane.publish(CONTENT, names=['Épic "Kit".zip'])
    link = nginx.plane.link(published)
    with nginx.connect() as client:  # one connection, kept alive
        whole = client.get(link, "Forwarded: for=6.6.6.6")
        assert (whole.status, whole.body) == (200, CONTENT)
        assert whole["ETag"] == published.etag

        head = client.get(link, method="HEAD")
        assert (head.status, head["Content-Length"]) == (200, str(len(CONTENT)))

        part = client.get(link, "Range: bytes=100000-199999")
        assert (part.status, part.body) == (206, CONTENT[100_000:200_000])
        assert part["Content-Range"] == f"bytes 100000-199999/{len(CONTENT)}"

        resumed = client.get(link, "Range: bytes=299000-", f"If-Range: {published.etag}")
        assert (resumed.status, resumed.body) == (206, CONTENT[299_000:])

        changed = client.get(link, "Range: bytes=299000-", 'If-Range: "another"')
        assert (changed.status, changed.body) == (200, CONTENT)

        several = client.get(link, "Range: bytes=0-99,1000-1099")
        assert several.status == 206
        assert several["Content-Type"].startswith("multipart/byteranges; boundary=")
        assert CONTENT[:100] in several.body
        assert CONTENT[1000:1100] in several.body

        beyond = client.get(link, "Range: bytes=300000-")
        assert (beyond.status, beyond["Content-Range"]) == (416, "bytes */300000")


def test_nginx_answers_with_the_fields_of_the_gateway_and_sends_the_bytes(
    start: Callable[[str], Nginx],
) -> None:
    nginx = start("auth_request.conf")
    link = nginx.plane.link(publish_as(nginx.plane, 'Épic "Kit".zip'))
    direct = nginx.plane.get(link)
    counters = nginx.plane.workers[0].counters
    sent = wait_until(lambda: counters.values()[BYTES_SENT], "the first answer is counted")
    answer = nginx.get(link)
    assert answer.body == CONTENT
    assert nginx.plane.workers[0].counters.values()[BYTES_SENT] == sent
    missing = {name.lower() for name, _ in direct.lines} - {name.lower() for name, _ in answer.lines}
    assert missing == {"repr-digest"}
    own = {"date", "connection", "server"}
    differing = [
        name for name, value in answer.lines if name.lower() not in own and direct.get(name) != value
    ]
    assert differing == []


def test_keys_of_every_kind(start: Callable[[str], Nginx]) -> None:
    nginx = start("auth_request.conf")
    for key in (
        "a b.bin",
        "höhe/日本.bin",
        "100%.bin",
        "%41.bin",
        "what?.bin",
        "a#b.bin",
        "$root.bin",
        "x/y z/q",
    ):
        link = nginx.plane.link(publish_as(nginx.plane, key))
        sent = nginx.plane.workers[0].counters.values()[BYTES_SENT]
        assert nginx.get(link).body == CONTENT, key
        assert nginx.plane.workers[0].counters.values()[BYTES_SENT] == sent, key


def test_a_key_that_no_field_can_hold_is_sent_by_the_gateway(start: Callable[[str], Nginx]) -> None:
    nginx = start("auth_request.conf")
    answer = nginx.get(nginx.plane.link(publish_as(nginx.plane, "a\r\nX-Gateway-Key: 1-0")))
    assert (answer.status, answer.body) == (200, CONTENT)


@BOTH
def test_an_object_is_sent_by_the_gateway(start: Callable[..., Nginx], example: str) -> None:
    with Upstream() as upstream:
        nginx = start(example, storage={"s3": table(upstream)})
        link = nginx.plane.link(publish(nginx.plane, upstream.put("kit.bin", CONTENT)), maximum=1)
        assert nginx.get(link, "Range: bytes=0-99999").body == CONTENT[:100_000]
        rest = nginx.get(link, "Range: bytes=100000-")
        assert (rest.status, rest.body) == (206, CONTENT[100_000:])
        wait_until(lambda: nginx.plane.charged(link) == len(CONTENT), "all is charged once")
        refused = nginx.get(link)
        assert (refused.status, refused.code) == (403, "limit_reached")


@BOTH
def test_refusals_keep_their_status_and_fields(start: Callable[[str], Nginx], example: str) -> None:
    nginx = start(example)
    published = nginx.plane.publish(CONTENT)
    link = nginx.plane.link(published)

    missing = nginx.get("/download")
    assert (missing.status, missing.code) == (401, "token_missing")
    assert missing["WWW-Authenticate"] == 'Bearer realm="downloads"'

    unknown = nginx.get("/download?token=ct_" + "x" * 43)
    assert (unknown.status, unknown.code) == (403, "token_invalid")

    page = nginx.get("/download?token=ct_" + "x" * 43, "Accept: text/html")
    assert (page.status, page["Content-Type"]) == (403, "text/html; charset=utf-8")

    nowhere = nginx.get(link.replace("/download", "/download/other.bin"))
    assert (nowhere.status, nowhere.code) == (404, "file_not_found")

    method = nginx.get(link, "Content-Length: 0", method="POST")
    assert (method.status, method["Allow"]) == (405, "GET, HEAD")

    twice = nginx.get(link, "Authorization: Bearer ct_" + "x" * 43)
    assert (twice.status, twice.code) == (400, "bad_request")

    nginx.plane.expected.append(published.file.key)
    published.path.unlink()
    gone = nginx.get(link)
    assert (gone.status, gone.code) == (502, "storage_failed")


@BOTH
def test_a_used_up_limit(start: Callable[[str], Nginx], example: str) -> None:
    nginx = start(example)
    published = nginx.plane.publish(CONTENT)
    link = nginx.plane.link(published, maximum=1)
    assert nginx.get(link, method="HEAD").status == 200
    assert nginx.get(link, "Range: bytes=0-99999").body == CONTENT[:100_000]
    assert nginx.get(link, "Range: bytes=100000-").body == CONTENT[100_000:]
    assert nginx.plane.charged(link) == len(CONTENT)
    refused = nginx.get(link)
    assert (refused.status, refused.code) == (403, "limit_reached")


@pytest.mark.timing
@BOTH
def test_the_store_is_down(start: Callable[[str], Nginx], own_store: StoreServer, example: str) -> None:
    nginx = start(example)
    link = nginx.plane.link(nginx.plane.publish(CONTENT))
    nginx.plane.expected.append("store")
    own_store.stop()
    with lasts(most=3):
        refused = nginx.get(link)
    assert (refused.status, refused.code) == (503, "store_unavailable")
    assert int(refused["Retry-After"]) > 0


@BOTH
def test_an_index_of_several_files(start: Callable[[str], Nginx], example: str) -> None:
    nginx = start(example)
    published = nginx.plane.publish(b"one", b"two", names=["one.txt", "deep/two.txt"])
    link = nginx.plane.link(published, maximum=1)
    listed = json.loads(nginx.get(link, "Accept: application/json").body)["files"]
    assert [file["name"] for file in listed] == ["one.txt", "deep/two.txt"]
    assert [nginx.get(file["url"]).body for file in listed] == [b"one", b"two"]
    assert nginx.get(link, "Accept: text/html")["Content-Type"] == "text/html; charset=utf-8"


@BOTH
def test_links_with_the_token_in_the_path_and_with_something_glued(
    start: Callable[[str], Nginx], example: str
) -> None:
    """And no log has the token, in whatever form the link came: see `start`."""
    nginx = start(example)
    published = nginx.plane.publish(CONTENT, names=["kit 1.zip"])
    token = nginx.plane.token(published)
    with nginx.connect() as client:
        for target in link_forms(token):
            answer = client.get(target, "Range: bytes=5-9")
            assert (answer.status, answer.body) == (206, CONTENT[5:10]), target
        client.get(f"/elsewhere/{token}")
        client.get(f"/download/{token}/{token}")
    paths = [entry["path"] for entry in nginx.entries(len(LINKS) + 2)]
    assert paths[0] == "/download/[secret]/kit%201.zip"
    assert paths[3] == "/download/[secret]/kit%201.zip"
    assert paths[-2:] == ["/elsewhere/[secret]", "[two tokens]"]


@BOTH
def test_the_token_as_a_password(start: Callable[[str], Nginx], example: str) -> None:
    nginx = start(example)
    token = nginx.plane.token(nginx.plane.publish(CONTENT))
    field = f"Authorization: Basic {b64encode(f'any:{token}'.encode()).decode()}"
    answer = nginx.get("/download", field, "Range: bytes=5-9")
    assert (answer.status, answer.body) == (206, CONTENT[5:10])
    challenges = [
        value
        for name, value in nginx.get("/download", "User-Agent: Wget/1").lines
        if name == "WWW-Authenticate"
    ]
    schemes = [value.partition(" ")[0] for value in challenges]
    assert schemes[0] == "Bearer"
    assert schemes[1:] == ["Basic"] or example == "auth_request.conf"  # nginx before 1.23 passes one on


@BOTH
def test_a_token_as_a_bearer(start: Callable[[str], Nginx], example: str) -> None:
    nginx = start(example)
    token = nginx.plane.token(nginx.plane.publish(CONTENT))
    assert nginx.get("/download", f"Authorization: Bearer {token}").body == CONTENT


@BOTH
def test_webhooks_and_pages_reach_the_web_process(start: Callable[[str], Nginx], example: str) -> None:
    nginx = start(example)
    body = os.urandom(200_000)
    with WebStandIn(nginx.plane.folder / "data" / "web.sock") as web, nginx.connect() as client:
        client.send(request("/hooks/a/secret", f"Content-Length: {len(body)}", method="POST") + body)
        assert (client.read().status, web.taken[0].body) == (200, body)
        for target in ("/my", "/my/orders?x=1", "/.well-known/jwks.json"):
            assert client.get(target, "X-Forwarded-For: 203.0.113.9").status == 200
        assert client.get("/hooks/../api/orders").status == 404
    assert [each.split(b" ")[1] for each in web.heads] == [
        b"/hooks/a/secret", b"/my", b"/my/orders?x=1", b"/.well-known/jwks.json",
    ]  # fmt: skip
    assert all(b"\r\nX-Forwarded-For: 127.0.0.1\r\n" in each for each in web.heads[:1])
    assert nginx.entries(5)[0]["path"] == "/hooks/a/[secret]"
    answer = nginx.get("/hooks/a")
    assert (answer.status, answer.code, answer["Retry-After"]) == (503, "web_unavailable", "5")


@BOTH
def test_nothing_else_is_reached_from_outside(start: Callable[[str], Nginx], example: str) -> None:
    nginx = start(example)
    link = nginx.plane.link(nginx.plane.publish(CONTENT))
    for target in ("/auth", "/_gateway/auth", "/healthz", "/metrics", "/1-0", "/"):
        assert nginx.get(target, f"X-Original-URI: {link}").status == 404
    assert nginx.get("/download", f"X-Original-URI: {link}").status == 401
    assert nginx.get("/download/../1-0").status == 404


@BOTH
def test_logs_name_the_client_and_no_token(start: Callable[[str], Nginx], example: str) -> None:
    nginx = start(example)
    link = nginx.plane.link(nginx.plane.publish(CONTENT))
    nginx.get(
        link.replace("/download", "/download/file-0.bin"), "X-Forwarded-For: 192.0.2.7", f"Referer: {link}"
    )
    nginx.get("/download/../auth" + link, f"Authorization: Bearer {link[-46:]}")
    nginx.get(link + "%zz")
    [first, *_] = nginx.entries(3)
    assert (first["method"], first["path"], first["status"]) == ("GET", "/download/file-0.bin", 200)
    assert first["sent"] == len(CONTENT)
    wait_until(lambda: bool(nginx.plane.log.exists() and nginx.plane.entries()), "the gateway has logged")
    assert nginx.plane.entries()[0]["client"] == "192.0.2.7"


@BOTH
def test_the_gateway_is_down(start: Callable[[str], Nginx], example: str) -> None:
    nginx = start(example)
    link = nginx.plane.link(nginx.plane.publish(CONTENT))
    nginx.plane.stop()
    assert nginx.get(link).status == 502


def test_a_file_that_nginx_cannot_find_is_no_second_charge(start: Callable[[str], Nginx]) -> None:
    """The folder in nginx's configuration is not the gateway's: seen at once, and charged once."""
    nginx = start("auth_request.conf")
    link = nginx.plane.link(publish_as(nginx.plane, "link/file.bin"), maximum=2)
    (nginx.plane.root / "link").rename(nginx.plane.root / "elsewhere")
    (nginx.plane.root / "link").symlink_to("elsewhere")  # the gateway follows it, nginx is configured not to
    assert nginx.get(link).status == 502
    assert nginx.plane.charged(link) == len(CONTENT)


@pytest.mark.parametrize("limit", ["max_ranges 256;", ""], ids=["as in the example", "any number of ranges"])
def test_nginx_sends_no_more_than_is_charged(start: Callable[..., Nginx], limit: str) -> None:
    """It does not merge ranges, so that it sends a byte as often as it is asked for."""
    nginx = start("auth_request.conf", changes={"max_ranges 256;": limit})
    published = nginx.plane.publish(os.urandom(FRONT_PROXY_SIZE))
    link = nginx.plane.link(published, maximum=1000)
    for fields in FRONT_PROXY_FIELDS:
        before = nginx.plane.charged(link)
        answer = nginx.get(link, *fields)
        charged = nginx.plane.charged(link) - before
        sent = file_bytes(answer["Content-Type"], answer.body) if answer.status in (200, 206) else 0
        assert sent <= charged <= FRONT_PROXY_SIZE, (fields, answer.status)
        assert charged in (FRONT_PROXY_SIZE, sent) or answer.status not in (200, 206), fields
    before = nginx.plane.charged(link)
    assert nginx.get(link, *FRONT_PROXY_FIELDS[0]).status == 206
    assert nginx.plane.charged(link) - before == 16 * 62_500
    before = nginx.plane.charged(link)
    assert nginx.get(link, f"Range: {apart(255)}").status == 206  # as zchunk asks
    assert nginx.plane.charged(link) - before == 255


@pytest.mark.parametrize(("limit", "level"), [("256", Level.OK), ("16", Level.FAIL), ("255", Level.FAIL)])
def test_check_sees_an_nginx_that_sends_the_whole_file_for_ranges_that_were_paid(
    start: Callable[..., Nginx], limit: str, level: Level
) -> None:
    nginx = start("auth_request.conf", changes={"max_ranges 256;": f"max_ranges {limit};"})
    published = nginx.plane.publish(CONTENT)
    target = Target("http://{}:{}".format(*nginx.address), published.file, nginx.plane.token(published))
    findings = {each.subject: each.level for each in check_proxy(target)}
    assert findings.pop("proxy ranges") is level
    assert set(findings.values()) == {Level.OK}, findings


def test_a_client_that_vanishes_behind_nginx_gets_its_bytes_back(start: Callable[[str], Nginx]) -> None:
    nginx = start("proxy.conf")
    size = 64 << 20
    link = nginx.plane.link(nginx.plane.publish(b"", sparse=size), maximum=1)
    client = nginx.connect(receive_buffer=65536)
    client.send(f"GET {link} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    client.read_head()
    client.read_bytes(1 << 20)
    client.reset()
    wait_until(lambda: nginx.plane.charged(link) < size // 2, "the rest is refunded")


def test_a_slow_client_is_not_cut(start: Callable[[str], Nginx]) -> None:
    nginx = start("proxy.conf")
    size = 8 << 20
    link = nginx.plane.link(nginx.plane.publish(b"", sparse=size))
    with nginx.connect(receive_buffer=65536) as client:
        client.send(f"GET {link} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        client.read_head()
        got = 0
        for _ in range(4):
            got += len(client.read_bytes(100_000))
            time.sleep(0.5)
        assert got + len(client.read_bytes(size - got)) == size
