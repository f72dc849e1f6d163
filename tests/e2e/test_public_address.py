"""The public address of `up`, with all its processes: webhooks, what is private, a web process that dies."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from gateway.cli.checks import Level
from gateway.cli.checks.proxy import check_hooks
from tests.support.http_client import Client, request
from tests.support.listening import found_addresses
from tests.support.processes import ROOT
from tests.support.programs import need
from tests.support.up import FIXED, Up
from tests.support.waiting import wait_until
from tests.support.webhooks import SECRETS, signature

PUBLISHED = ("docs", "config", "README.md")
PAYMENT_LINK = "plink_1QcXyzPublicAddress"


class Gateway:
    """`up` in a folder that has what the README's lines need."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in PUBLISHED:
            (folder / name).symlink_to(ROOT / name)
        self.up = Up(folder)
        self.links = self.up.start()
        self.addresses = found_addresses(self.up.errors())
        self.key = json.loads(self.command("key", "create", "office", "--role", "admin", "--json"))["key"]

    def command(self, *arguments: str) -> str:
        program = [sys.executable, "-m", "gateway", *arguments]
        variables = os.environ | FIXED
        done = subprocess.run(
            program, cwd=self.folder, env=variables, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def port(self, setting: str) -> int:
        return int(self.addresses[setting].rpartition(":")[2])

    def ask(self, method: str, path: str, document: Any = None) -> tuple[int, Any]:
        """Ask the admin API."""
        body = None if document is None else json.dumps(document)
        fields = {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"}
        link = http.client.HTTPConnection("127.0.0.1", self.port("dashboard_listen"), timeout=30)
        with closing(link):
            link.request(method, path, body, fields)
            answer = link.getresponse()
            return answer.status, json.loads(answer.read() or b"null")

    def post(self, path: str, body: bytes, fields: dict[str, str]) -> int:
        """Post to the public address."""
        with closing(http.client.HTTPConnection("127.0.0.1", self.up.port, timeout=30)) as link:
            link.request("POST", path, body, fields)
            answer = link.getresponse()
            answer.read()
            return answer.status

    def web(self) -> int:
        """The process id of the web process."""
        [pid] = [each["pid"] for each in self.up.health()["children"] if each["name"] == "web 0"]
        return int(pid)

    def connect(self, name: str) -> str:
        """Make a connection of Stripe in which the payment link stands for the demo; return its path."""
        status, answer = self.ask(
            "POST", "/api/connections", {"kind": "stripe", "name": name, "secrets": [SECRETS["stripe"]]}
        )
        assert status == 201, answer
        url = answer["connection"]["url"]
        assert url.startswith(f"http://127.0.0.1:{self.up.port}/hooks/")
        [product] = [each["productId"] for each in self.ask("GET", "/api/products")[1]["products"]][:1]
        mapped = [{"productId": product, "scope": "all"}]
        mappings = [{"key": "payment_link", "value": PAYMENT_LINK, "products": mapped}]
        identifier = url.rpartition("/")[2]
        assert self.ask("PUT", f"/api/connections/{identifier}/mappings", {"mappings": mappings})[0] == 200
        return f"/hooks/{identifier}"


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    running = Gateway(tmp_path_factory.mktemp("public"))
    yield running
    assert running.up.stop() == 0


def session_completed(number: int, email: str) -> bytes:
    """Stripe's event of a Checkout session that was paid by the payment link."""
    now = int(time.time())
    session = {
        "id": f"cs_live_{number}",
        "object": "checkout.session",
        "created": now,
        "currency": "eur",
        "amount_total": 2900,
        "livemode": True,
        "mode": "payment",
        "status": "complete",
        "payment_status": "paid",
        "payment_link": PAYMENT_LINK,
        "payment_intent": f"pi_{number}",
        "customer_details": {"email": email, "name": "Jo"},
    }
    event = {
        "id": f"evt_{number}",
        "object": "event",
        "type": "checkout.session.completed",
        "created": now,
        "livemode": True,
        "data": {"object": session},
    }
    return json.dumps(event).encode()


def entitlements(gateway: Gateway, email: str) -> list[dict[str, Any]]:
    _, answer = gateway.ask("GET", f"/api/entitlements?email={email}")
    found: list[dict[str, Any]] = answer["entitlements"]
    return found


def test_a_signed_webhook_at_the_public_address_makes_an_entitlement(gateway: Gateway) -> None:
    path = gateway.connect("Stripe")
    body = session_completed(1, "stripe@example.com")
    assert gateway.post(path, body, signature("stripe", body, SECRETS["stripe"], int(time.time()))) == 200
    wait_until(lambda: bool(entitlements(gateway, "stripe@example.com")), "the entitlement is there")
    assert (
        gateway.post(path, body + b" ", signature("stripe", body, SECRETS["stripe"], int(time.time()))) == 401
    )
    assert gateway.post("/hooks/nobody", body, {}) == 404


@pytest.mark.parametrize(
    "head",
    [
        request("/api/orders"),
        request("/api/openapi.json"),
        request("/hooks/../api/orders"),
        request("/hooks/%2e%2e/api/orders"),
        request("/my/..%2fapi%2forders"),
        request("/my/%2e%2e%2fapi/orders"),
        request("/my//../../api/orders"),
        request("/hooks/x/..;/api/orders"),
        b"GET http://127.0.0.1:DASHBOARD/api/orders HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET http://127.0.0.1:DASHBOARD/my/../api/orders HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /api/orders HTTP/1.1\r\nHost: 127.0.0.1:DASHBOARD\r\n\r\n",
        b"GET /my/api/orders HTTP/1.1\r\nHost: 127.0.0.1:DASHBOARD\r\n\r\n",
        request("/my/nothing", "X-Original-URI: /api/orders", "X-Rewrite-URL: /api/orders"),
        request("/my/healthz"),
        request("/metrics"),
        b"POST /hooks/x HTTP/1.1\r\nHost: a\r\nContent-Length: 45\r\n\r\n" + request("/api/orders"),
    ],
)  # fmt: skip
def test_nothing_private_is_reached_through_the_public_address(gateway: Gateway, head: bytes) -> None:
    data = head.replace(b"DASHBOARD", str(gateway.port("dashboard_listen")).encode())
    key = f"Authorization: Bearer {gateway.key}\r\n\r\n".encode()
    with Client(("127.0.0.1", gateway.up.port)) as client:
        client.send(data.replace(b"\r\n\r\n", b"\r\n" + key, 1))
        answer = client.read()
        assert answer.status in (404, 405)
        assert b"orders" not in answer.body
        client.end()
        client.assert_closed()


def test_a_web_process_that_is_killed_comes_back_and_loses_nothing(gateway: Gateway) -> None:
    path = gateway.connect("Killed")
    taken = 0
    former = gateway.web()
    for number in range(100, 130):
        body = session_completed(number, "killed@example.com")
        if number == 110:
            os.kill(former, signal.SIGKILL)
        for _ in range(600):  # as a platform does: again after 503
            status = gateway.post(path, body, signature("stripe", body, SECRETS["stripe"], int(time.time())))
            if status != 503:
                break
            time.sleep(0.1)
        assert status == 200
        taken += 1
    wait_until(lambda: len(entitlements(gateway, "killed@example.com")) == taken, "all are applied")
    assert gateway.web() != former


def test_check_says_whether_webhooks_reach_the_web_process(gateway: Gateway) -> None:
    base = f"http://127.0.0.1:{gateway.up.port}"
    for url, level, text in (
        (base, Level.OK, "reaches the web process"),
        (f"{base}/elsewhere", Level.WARN, "answered with 404 not_found"),
        ("http://127.0.0.1:1", Level.WARN, "cannot be reached"),
    ):
        finding = check_hooks(url)
        assert (finding.level, text in finding.text) == (level, True), finding


@pytest.mark.slow
def test_200_slow_webhooks_do_not_disturb_downloads(gateway: Gateway) -> None:
    path = gateway.links[0].partition(f":{gateway.up.port}")[2]
    slow = [socket.create_connection(("127.0.0.1", gateway.up.port), timeout=60) for _ in range(200)]
    for each in slow:
        each.sendall(request("/hooks/nobody", "Content-Length: 1000", method="POST") + b"begin")
    for _ in range(100):
        with Client(("127.0.0.1", gateway.up.port)) as client:
            assert client.get(path, "Range: bytes=0-999").status == 206
    found = [each.recv(12) for each in slow]
    assert {each[9:] for each in found} <= {b"404", b"408", b"503"}
    for each in slow:
        each.close()
    body = b"{}"
    assert gateway.post("/hooks/nobody", body, {}) == 404


@pytest.mark.slow
def test_the_lines_of_the_readme_work(gateway: Gateway) -> None:
    """Those about links and orders, as they are; only the ports are others."""
    for program in ("curl", "openssl"):
        need(program)
    text = (ROOT / "README.md").read_text()
    parts = [text.partition(f"## {name}\n")[2].partition("\n## ")[0] for name in ("Links", "Orders")]
    lines = "\n".join(block for part in parts for block in re.findall(r"```sh\n(.*?)```", part, re.DOTALL))
    for usual, setting in ((8080, "listen"), (8081, "mint_listen"), (8083, "dashboard_listen")):
        lines = lines.replace(f"127.0.0.1:{usual}", f"127.0.0.1:{gateway.port(setting)}")
    programs = gateway.folder / ".venv" / "bin"
    programs.mkdir(parents=True)
    (programs / "activate").write_text(f"PATH={programs}:$PATH\n")
    (programs / "download-gateway").write_text(
        f'#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} -m gateway "$@"\n'
    )
    (programs / "download-gateway").chmod(0o755)
    done = subprocess.run(
        ["sh", "-eu"],
        input=lines,
        cwd=gateway.folder,
        capture_output=True,
        text=True,
        timeout=270,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "HTTP/1.1 200 OK" in done.stdout
    assert (gateway.folder / "manual.md").read_bytes() == (ROOT / "README.md").read_bytes()
    [found] = entitlements(gateway, "ann@example.com")
    assert (found["productId"], found["status"]) == ("manual", "active")
