"""What `check` finds where the gateway listens: who listens there, how far it is reached, who is trusted."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest

from gateway.cli.checks import Level
from gateway.cli.checks.ports import _reach, check_ports
from gateway.cli.checks.trust import check_trust
from gateway.config.settings import LISTENERS, Settings
from gateway.config.sources import toml_name
from gateway.runtime.addresses import Address
from tests.support.console import FREE, Gateway
from tests.support.front_proxies import Front, serve
from tests.support.ports import reserve_port
from tests.support.rows import each_row


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
