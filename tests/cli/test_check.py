"""`check` against real stores, real files, real ports, and front proxies with every known mistake."""

from __future__ import annotations

import gzip
import http.server
import json
import os
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from gateway.cli.checks import Level
from gateway.cli.checks.ports import _reach, check_ports
from gateway.cli.checks.proxy import Target, check_proxy
from gateway.cli.checks.store import check_store
from gateway.cli.checks.trust import check_trust
from gateway.config.settings import LISTENERS, Settings
from gateway.config.sources import toml_name
from gateway.manifest import ManifestFile
from gateway.runtime.addresses import Address
from gateway.tokens.repositories import Repositories
from tests.support.console import FREE, Gateway, report
from tests.support.listening import found_addresses, found_port
from tests.support.ports import reserve_port
from tests.support.rows import each_row
from tests.support.store_server import STORE_SECONDS, StoreServer
from tests.support.waiting import wait_until

# Settings, store, files


EXPECTED = ("store persistence", "mail")
"""What warns in a trial: the store of the tests keeps nothing, and there is no mail server."""


@pytest.mark.slow
def test_everything_is_fine(gateway: Gateway, files: Path) -> None:
    gateway.run("product", "add", "drums", "1", files)
    found = report(gateway)
    assert {each["result"] for name, each in found.items() if name not in EXPECTED} == {"ok", "skip"}
    assert found["store persistence"]["result"] == "warn", "the tests' store keeps nothing"
    assert found["mail"]["result"] == "warn", "there is no mail server"
    assert found["files"]["text"] == "all as they were published: 2 files"
    assert found["proxy"]["result"] == "skip"
    output = gateway.run("check", *FREE, "--quick")
    assert "CHECK" in output.stdout
    assert "--quick" in output.stdout
    assert output.stderr == ""


def test_faults_of_settings_come_first(gateway: Gateway) -> None:
    found = gateway.json("check", "--workers", "0", "--stall-timeout", "x", code=1)
    assert [each["check"] for each in found] == ["settings", "settings"]
    assert found[0]["text"].startswith("--workers: ")


def test_no_store(gateway: Gateway, own_store: StoreServer) -> None:
    own_store.stop()
    gateway.variables["GATEWAY_REDIS_URL"] = own_store.url
    assert report(gateway, code=1)["store"]["result"] == "fail"


def test_an_embedded_store_passes(tmp_path: Path) -> None:
    found = report(Gateway(tmp_path))
    assert found["mail"]["result"] == "warn", "there is no mail server"
    assert {each["result"] for name, each in found.items() if name != "mail"} == {"ok", "skip"}


@pytest.mark.parametrize(
    ("settings", "subject", "level", "text"),
    [
        (("maxmemory-policy", "allkeys-lru"), "store memory", "fail", "maxmemory-policy is allkeys-lru"),
        (("maxmemory", "900kb"), "store memory", "warn", "of maxmemory is used"),
        (("save", "60 1"), "store persistence", "warn", "only snapshots"),
        (("save", ""), "store persistence", "warn", "a restart loses every product"),
        (("appendonly", "yes"), "store persistence", "ok", "every write"),
        (("replicaof", "127.0.0.1 1"), "store role", "fail", "read-only replica"),
    ],
)
async def test_the_store_as_it_is_set_up(
    settings: tuple[str, str], subject: str, level: str, text: str, own_store: StoreServer
) -> None:
    async with Repositories.connect(own_store.url, STORE_SECONDS) as link:
        await link.client.call(
            *(["REPLICAOF", "127.0.0.1", "1"] if settings[0] == "replicaof" else ("CONFIG", "SET", *settings))
        )
        found = {each.subject: each for each in await check_store(link, "it")}
    assert (found[subject].level.value, text in found[subject].text) == (level, True), found[subject]


@pytest.mark.slow
def test_files_that_are_not_as_published(gateway: Gateway, files: Path) -> None:
    gateway.run("product", "add", "drums", "1", files)
    gateway.run("product", "add", "bass", "1", files / "a.bin")
    os.truncate(files / "a.bin", 7)
    (files / "sub" / 'ü "b".txt').unlink()
    found = gateway.json("check", *FREE, code=1)
    failed = [(each["check"], each["text"].split(":")[0]) for each in found if each["result"] == "fail"]
    assert failed == [
        ("product bass 1", "a.bin"), ("product drums 1", "a.bin"), ("product drums 1", 'sub/ü "b".txt'),
    ]  # fmt: skip
    assert all(each["mend"] for each in found if each["result"] == "fail")


def test_a_storage_without_its_folder(gateway: Gateway, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    gateway.variables |= {
        "GATEWAY_STORAGE__GONE__ROOT": str(tmp_path / "gone"),
        "GATEWAY_STORAGE__FILE__ROOT": str(tmp_path / "file"),
        "GATEWAY_STORAGE__HERE__ROOT": str(tmp_path),
    }
    found = report(gateway, code=1)
    assert [found[f"storage {name}"]["result"] for name in ("gone", "file", "here")] == ["fail", "fail", "ok"]


def test_a_damaged_registry(gateway: Gateway, tmp_path: Path) -> None:
    (tmp_path / ".download-gateway").mkdir()
    (tmp_path / ".download-gateway/storages.json").write_text("{")
    assert "storages.json is damaged" in report(gateway, code=1)["storages"]["text"]


@pytest.mark.slow
def test_addresses(gateway: Gateway, tmp_path: Path) -> None:
    with reserve_port() as port, socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(tmp_path / "stale.sock"))
        free = f"127.0.0.1:{port}"
        with serve(Front()) as url:
            front = url.removeprefix("http://")
            found = {
                each["check"]: each
                for each in gateway.json(
                    "check",
                    "--listen",
                    front,
                    "--mint-listen",
                    "unix:stale.sock",
                    "--admin-listen",
                    free,
                    code=1,
                )
            }
    assert found["listen"]["text"] == f"{front} is in use by another program"
    assert found["listen"]["mend"] == "stop what listens there, or change listen"
    assert (found["mint.listen"]["result"], found["admin_listen"]["result"]) == ("ok", "ok")
    found = {
        each["check"]: each
        for each in gateway.json(
            "check",
            "--listen",
            "192.0.2.1:80",
            "--mint-listen",
            "unix:/none/x",
            "--admin-listen",
            "127.0.0.1:0",
            code=1,
        )
    }
    assert "cannot be used" in found["listen"]["text"]
    assert found["mint.listen"]["text"] == "/none is not a folder"


@pytest.mark.parametrize(
    ("address", "result"),
    [
        ("0.0.0.0:0", "warn"),
        (":0", "warn"),
        ("[::]:0", "warn"),
        ("[0:0::0]:0", "warn"),
        ("[::ffff:0.0.0.0]:0", "warn"),
        ("0:0", "warn"),
        ("127.0.0.1:0", "ok"),
        ("localhost:0", "ok"),
        ("unix:private.sock", "ok"),
    ],
)
def test_private_listeners_on_every_address(
    address: str, result: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in LISTENERS:
        others = dict.fromkeys(LISTENERS, "127.0.0.1:0")
        findings = check_ports(Settings.model_validate({**others, name: address}))
        found = {each.subject: each for each in findings}
        expected = "ok" if name == "listen" else result
        finding = found[toml_name(name)]
        assert finding.level.value == expected, finding
        assert bool(finding.remedy) is (expected == "warn")
        assert [each.level.value for each in found.values()].count("warn") == (expected == "warn")


@pytest.mark.parametrize(
    ("address", "reach"),
    [
        ("8.8.8.8:1", "from the Internet"),
        ("[2600::1]:1", "from the Internet"),
        ("[::ffff:8.8.8.8]:1", "from the Internet"),
        ("10.0.0.1:1", ""),
        ("192.168.1.1:1", ""),
        ("[fd00::1]:1", ""),
        ("[::1]:1", ""),
    ],
)
def test_how_far_an_address_is_reached(address: str, reach: str) -> None:
    assert _reach(Address.parse(address)) == reach


@each_row(
    ("networks", "wide"),
    [
        ("", []),
        ("127.0.0.1, 10.0.0.0/8, 172.16.0.0/12, fd00::/8, fc00::/7, fe80::/10, 2001:db8::/32", []),
        ("0.0.0.0/0", ["0.0.0.0/0"]),
        ("::/0", ["::/0"]),
        ("10.0.0.0/8 0.0.0.0/0 ::/0", ["0.0.0.0/0", "::/0"]),
        ("0.0.0.0/1,128.0.0.0/1", ["0.0.0.0/1", "128.0.0.0/1"]),
        ("64.0.0.0/2", ["64.0.0.0/2"]),
        ("2000::/3", ["2000::/3"]),
        ("::ffff:0:0/96", ["::ffff:0.0.0.0/96", "::ffff:0:0/96"]),
        ("::ffff:10.0.0.0/104", []),
    ],
)
def test_networks_of_front_proxies_that_hold_strangers(networks: str, wide: list[str]) -> None:
    finding = check_trust(Settings.model_validate({"trusted_proxies": networks}))
    assert finding.level is (Level.WARN if wide else Level.OK)
    named = finding.text.partition(" lets ")[0].split(", ") if wide else []
    assert named == wide or (len(named) == 1 and named[0] in wide)


def test_strangers_are_named_in_the_report(gateway: Gateway) -> None:
    found = {
        each["check"]: each
        for each in gateway.json(
            "check", *FREE, "--quick", "--mint-listen", "0.0.0.0:0", "--trusted-proxies", "0.0.0.0/0"
        )
    }
    assert found["mint.listen"]["result"] == found["trusted_proxies"]["result"] == "warn"
    assert "127.0.0.1" in found["mint.listen"]["mend"]


# The front proxy

CONTENT = bytes(range(256)) * 20
ETAG = '"strong"'


class Front:
    """A gateway behind a front proxy, in as few lines as show what `check` looks at. `fault` breaks it."""

    def __init__(self, fault: str = "") -> None:
        self.fault = fault
        self.first_token = ""

    def answer(self, method: str, path: str, headers: Any) -> tuple[int, dict[str, str], bytes]:
        token = path.partition("token=")[2]
        self.first_token = self.first_token or token
        if token != self.first_token:
            return self.refuse()
        body, status, extra = CONTENT, 200, {"ETag": ETAG}
        span = headers.get("Range")
        if span and self.fault == "slices":
            span = "bytes=0-2047"
        if span and (headers.get("If-Range", ETAG) == ETAG or self.fault == "ignores If-Range"):
            last = int(span.rpartition("-")[2])
            status, body = 206, body[: last + 1]
            extra["Content-Range"] = f"bytes 0-{last}/{len(CONTENT)}"
        if self.fault == "no ranges" and status == 206:
            status, body, extra = 200, CONTENT, {"ETag": ETAG}
        if span and span.count(",") >= 255 and self.fault in ("few ranges", "firewall"):
            status = 200 if self.fault == "few ranges" else 403
        if self.fault == "compresses":
            body = gzip.compress(body)
            extra |= {"Content-Encoding": "gzip", "ETag": f"W/{ETAG}"}
        if self.fault == "drops ETag":
            extra.pop("ETag")
        if self.fault == "caches":
            extra["Age"] = "3"
        if self.fault == "no HEAD" and method == "HEAD":
            status, body = 405, b""
        if self.fault == "wrong path":
            status, body, extra = 404, b"<html>", {}
        return status, extra, body

    def refuse(self) -> tuple[int, dict[str, str], bytes]:
        if self.fault == "500":
            return 500, {}, b"<html>"
        if self.fault == "own page":
            return 403, {}, b"<html>"
        return 403, {}, json.dumps({"code": "token_invalid"}).encode()


@contextmanager
def serve(front: Front) -> Iterator[str]:
    """Run a front on a real port."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, headers, body = front.answer(self.command, self.path, self.headers)
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        do_HEAD = do_GET  # noqa: N815 - the library's name

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


class Healthz(Front):
    """A listener that answers /healthz."""

    def __init__(self, status: int, text: str) -> None:
        self.status = status
        self.text = text

    def answer(self, _method: str, path: str, _headers: Any) -> tuple[int, dict[str, str], bytes]:
        assert path == "/healthz"
        return self.status, {}, self.text.encode()


@pytest.mark.parametrize(
    ("status", "text", "level", "words"),
    [
        (200, '{"status": "ok"}', Level.OK, "served by a running gateway"),
        (503, '{"status": "degraded", "children": []}', Level.WARN, "a running gateway, which is degraded"),
        (404, '{"status": "ok"}', Level.FAIL, "in use by another program"),
        (200, '{"state": "ok"}', Level.FAIL, "in use by another program"),
        (200, '["status"]', Level.FAIL, "in use by another program"),
        (503, '{"status": 503}', Level.FAIL, "in use by another program"),
        (503, "<html>", Level.FAIL, "in use by another program"),
    ],
)
def test_who_listens_at_an_address(status: int, text: str, level: Level, words: str) -> None:
    """A gateway that starts, or of which a process does not work, is no other program."""
    with serve(Healthz(status, text)) as url:
        address = url.removeprefix("http://")
        found = check_ports(Settings(listen="127.0.0.1:0", admin_listen=address))
    [finding] = [each for each in found if each.subject == "admin_listen"]
    assert (finding.level, words in finding.text) == (level, True), finding


FILE = ManifestFile("a b.bin", len(CONTENT), "application/zip", "0" * 64, "0" * 8, "main", "a b.bin", 7)
PROXY = ("range", "ranges", "compression", "ETag", "HEAD", "If-Range", "refusal")


@each_row(
    ("fault", "wrong"),
    [
        ("", set()),
        ("no ranges", {"range", "ranges", "If-Range"}),
        ("slices", {"range"}),
        ("few ranges", {"ranges"}),
        ("firewall", {"ranges"}),
        ("compresses", {"compression", "ETag", "HEAD", "range", "If-Range"}),
        ("drops ETag", {"ETag"}),
        ("caches", {"cache"}),
        ("no HEAD", {"HEAD"}),
        ("ignores If-Range", {"If-Range"}),
        ("500", {"refusal"}),
        ("own page", {"refusal"}),
    ],
)
def test_a_front_proxy(fault: str, wrong: set[str]) -> None:
    with serve(Front(fault)) as url:
        findings = check_proxy(Target(url, FILE, "ct_first"))
    found = {finding.subject.removeprefix("proxy "): finding for finding in findings}
    assert {name for name, finding in found.items() if finding.level is not Level.OK} == wrong
    assert all(finding.remedy for finding in findings if finding.level is not Level.OK)
    assert set(PROXY) <= set(found)


def test_a_front_proxy_that_knows_no_path() -> None:
    with serve(Front("wrong path")) as url:
        [finding] = check_proxy(Target(url, FILE, "ct_first"))
    assert finding.level is Level.FAIL
    assert "a valid token is answered with 404" in finding.text


@pytest.mark.slow
def test_a_front_proxy_that_is_away(gateway: Gateway, files: Path) -> None:
    gateway.run("product", "add", "drums", "1", files)
    found = report(gateway, "--proxy", "http://127.0.0.1:1", code=1)
    assert "http://127.0.0.1:1 cannot be reached (the connection is refused)" in found["proxy"]["text"]
    [fault] = gateway.json("check", *FREE, "--proxy", "example.com", code=1)
    assert fault["text"] == "--proxy: must be http://HOST or https://HOST"


@pytest.mark.slow
def test_the_gateway_itself_passes(gateway: Gateway, files: Path, tmp_path: Path) -> None:
    gateway.run("product", "add", "drums", "1", files)
    log = tmp_path / "stderr"
    with log.open("wb") as errors:
        server = gateway.start("serve", *FREE, "--workers", "1", stdout=subprocess.DEVNULL, stderr=errors)
    try:
        wait_until(lambda: "serving downloads" in log.read_text(), "it serves", seconds=60)
        addresses = found_addresses(log.read_text())
        port = found_port(log.read_text(), "listen")
        wait_until(lambda: is_ready(port), "it is ready", 60)
        address, admin = addresses["listen"], addresses["admin_listen"]
        gateway.variables["GATEWAY_PUBLIC_URL"] = f"http://{address}"
        found = gateway.json("check", *FREE, "--listen", address, "--admin-listen", admin)
    finally:
        server.terminate()
        assert server.wait(60) == 0
    results = {each["check"]: each["result"] for each in found}
    assert {results[f"proxy {name}"] for name in (*PROXY, "cost")} == {"ok"}
    assert {each["text"] for each in found if each["check"] in ("listen", "admin_listen")} == {
        f"{address} is served by a running gateway", f"{admin} is served by a running gateway",
    }  # fmt: skip
    statuses = [token["status"] for token in gateway.json("token", "list")]
    assert statuses == ["revoked", "revoked"], "the trials' tokens are not left usable"


def is_ready(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), 60) as link:
            link.sendall(b"GET /readyz HTTP/1.0\r\n\r\n")
            return link.recv(100).startswith(b"HTTP/1.1 200")
    except OSError:
        return False
