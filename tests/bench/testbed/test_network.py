"""The network of a comparison. Child processes enter it, because a process cannot leave it again."""

import json
import os
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from bench.testbed.network import DEFAULT, SYSTEM, TCP, congestion

ROOT = Path(__file__).parents[3]
NOBODY = 65534
IMPORT = """
import ctypes, json, os, socket, sys
from bench.testbed import network
from bench.errors import BenchError
"""
ENTER = """
before = os.readlink("/proc/self/ns/net")
try:
    own = network.enter(sys.argv[1])
except BenchError as error:
    raise SystemExit(str(error))
listening = socket.create_server(("127.0.0.1", int(sys.argv[2])))
with socket.socket() as client:
    client.connect(listening.getsockname())  # only works while `lo` is up
print(json.dumps({
    **own.facts(), "own": own.own, "refusal": own.refusal, "warning": own.warning(), "user": os.getuid(),
    "moved": os.readlink("/proc/self/ns/net") != before, "port": listening.getsockname()[1],
}), flush=True)
sys.stdin.read()
"""
BE_NOBODY = f"""
os.setgroups([])
os.setresgid({NOBODY}, {NOBODY}, {NOBODY})
os.setresuid({NOBODY}, {NOBODY}, {NOBODY})
ctypes.CDLL(None).prctl(4, 1)  # PR_SET_DUMPABLE: what became another user may not write its own /proc files
"""
ALLOW_NO_NAMESPACE = """
network._unshare(network.CLONE_NEWUSER)
for limit in ("net", "user"):
    with open(f"/proc/sys/user/max_{limit}_namespaces", "w") as file:
        file.write("0")
"""


def child(name: str, port: int = 0, *, first: str = "") -> subprocess.Popen[str]:
    """A process that enters a network, after doing something else, and ends when its standard input does."""
    return subprocess.Popen(
        [sys.executable, "-c", IMPORT + first + ENTER, name, str(port)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def facts(name: str, port: int = 0, *, first: str = "") -> dict[str, Any]:
    """What such a process prints about the network."""
    output, errors = child(name, port, first=first).communicate(timeout=30)
    assert output, errors
    found: dict[str, Any] = json.loads(output)
    return found


ALLOWED = (TCP / "tcp_allowed_congestion_control").read_text().split()[0]
"""A congestion control that a namespace may have here: the kernel refuses those that only root may choose."""


@cache
def refusal(name: str = ALLOWED) -> str:
    """Why this kernel gives us no namespace with this congestion control, or empty."""
    return str(facts(name)["refusal"])


@pytest.fixture
def namespaces() -> None:
    """Skips the test where the kernel gives us no namespace."""
    if refusal():
        pytest.skip(f"namespaces are refused here: {refusal()}")


@pytest.mark.usefixtures("namespaces")
@pytest.mark.parametrize("name", [DEFAULT, "reno"])
def test_a_network_of_its_own_has_the_congestion_control_asked_for(name: str) -> None:
    if refusal(name):
        pytest.skip(f"a namespace with {name} is refused here: {refusal(name)}")
    before = congestion()
    found = facts(name)
    assert found["own"]
    assert found["moved"]
    assert found["congestion control"] == name
    assert found["network"] == "a namespace of its own"
    assert found["warning"] is None
    assert found["largest send buffer (tcp_wmem)"].endswith(" bytes")
    assert congestion() == before  # the machine keeps its own


@pytest.mark.usefixtures("namespaces")
def test_an_ordinary_user_gets_a_network_too_and_keeps_their_ids() -> None:
    found = facts(ALLOWED, first="" if os.geteuid() else BE_NOBODY)
    if found["refusal"]:
        pytest.skip(f"only root may have namespaces here: {found['refusal']}")
    assert found["moved"]
    assert found["user"] == (os.getuid() or NOBODY)


@pytest.mark.usefixtures("namespaces")
def test_two_networks_have_the_same_port() -> None:
    with child(ALLOWED) as first:
        assert first.stdin
        assert first.stdout
        port = json.loads(first.stdout.readline())["port"]
        assert facts(ALLOWED, port)["port"] == port
        first.stdin.close()


def test_the_systems_network_stays_as_it_is() -> None:
    found = facts(SYSTEM)
    assert not found["own"]
    assert not found["moved"]
    assert not found["refusal"]
    assert found["congestion control"] == congestion()
    assert found["network"] == "the machine's own"


def test_without_a_namespace_measuring_goes_on_in_the_machines_network() -> None:
    found = facts(ALLOWED, first="" if refusal() else ALLOW_NO_NAMESPACE)
    assert found["refusal"]
    assert not found["moved"]
    assert found["congestion control"] == congestion()
    assert found["warning"].startswith(
        f"the kernel refused a network namespace with {ALLOWED} ({found['refusal']}): "
    )
    assert found["network"] == f"the machine's own, for one with {ALLOWED} was refused: {found['refusal']}"


def test_an_unknown_congestion_control_is_refused_with_the_known_names() -> None:
    output, errors = child("bbrr").communicate(timeout=30)
    assert not output
    assert errors.startswith("there is no congestion control 'bbrr'; there are ")
    assert errors.endswith(f", {SYSTEM}\n")
    assert "reno" in errors
