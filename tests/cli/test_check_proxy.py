"""`check` against front proxies with every known mistake, and against the gateway itself."""

from __future__ import annotations

import socket
import subprocess
from pathlib import Path

import pytest

from gateway.cli.checks import Level
from gateway.cli.checks.proxy import Target, check_proxy
from gateway.manifest import ManifestFile
from tests.support.console import FREE, Gateway, report
from tests.support.front_proxies import CONTENT, Front, serve
from tests.support.listening import found_addresses, found_port
from tests.support.rows import each_row
from tests.support.waiting import wait_until

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
