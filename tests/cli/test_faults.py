"""Every fault of a command is one line that names the next step: no traceback, no secret, the right code."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.secrets import new_token
from gateway.tokens.repositories import Repositories
from tests.support.console import Fault, Gateway
from tests.support.store_server import STORE_SECONDS, StoreServer
from tests.support.waiting import wait_until

UNKNOWN = "0" * 32


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        (("product", "show", "nope"), "there is no product nope"),
        (("product", "add", "a b", "1", "."), "ID: must be 1 to 128 letters"),
        (("product", "add", "ok", "1", "./none"), "none does not exist"),
        (("product", "add", "ok", "1", "/dev/null"), "/dev/null is neither a file nor a folder"),
        (("token", "create", "nope"), "there is no product nope"),
        (("token", "create", "x", "--expires-in", "soon"), "--expires-in: 'soon' is not a time"),
        (("token", "create", "x", "--expires-in", "1M"), "--expires-in: '1M' is not a time, because months"),
        (("token", "create", "x", "--expires-in", "1y"), "because years differ: write days (365d)"),
        (("token", "create", "x", "--expires-in", "1.5"), "--expires-in: must be whole seconds, not 1.5"),
        (
            ("key", "create", "x", "--expires", "3 months"),
            "--expires: '3 months' is not a time, because months",
        ),
        (("key", "create", "x", "--expires", "1500ms"), "--expires: must be whole seconds, not 1500ms"),
        (("token", "create", "x", "--expires-in", "0"), "--expires-in: must be at least 1 second"),
        (
            ("token", "create", "x", "--expires-in", "31d"),
            "--expires-in: 31d is more than mint.max_ttl allows (30d)",
        ),
        (("token", "create", "x", "--email", "no"), "--email: must be an e-mail address"),
        (("token", "create", "x", "--metadata", "no"), "--metadata: 'no' is not KEY=VALUE"),
        (
            ("token", "create", "x", "--metadata", "a=1", "--metadata", "a=2"),
            "--metadata: 'a' is given twice",
        ),
        (("token", "show", UNKNOWN), "there is no such token"),
        (("token", "show", "../x"), "there is no such token"),
        (("token", "revoke", UNKNOWN), "there is no such token"),
        (("token", "extend", UNKNOWN), "nothing to change: give --expires-in"),
        (("token", "extend", UNKNOWN, "--expires-in", "1h"), "there is no such token"),
        (("token", "extend", UNKNOWN, "--expires-at", "tomorrow"), "--expires-at: must be a time such as"),
        (("token", "extend", UNKNOWN, "--expires-in", "1", "--expires-at", "x"), "exclude each other"),
        (("key", "revoke", "nope"), "there is no API key nope"),
        (("key", "create", ""), "name must be 1 to 200 characters"),
        (("key", "list", "--config", "none.toml"), "--config none.toml: the file cannot be read"),
        (("key", "list", "--redis-url", "redis://127.0.0.1:1"), "127.0.0.1:1"),
    ],
)
def test_faults(arguments: tuple[str, ...], wanted: str, complain: Callable[..., Fault]) -> None:
    fault = complain(*arguments)
    assert fault.code == 1
    [line] = fault.lines
    assert wanted in line


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        (("nope",), "there is no command 'nope'. Try: download-gateway --help"),
        (("token", "lst"), "did you mean 'list'? Try: download-gateway token --help"),
        (("token", "create"), "PRODUCT is missing"),
        (("token", "create", "x", "--nope"), "there is no option --nope"),
        (("token", "create", "x", "--max-download", "1"), "did you mean --max-downloads? Try:"),
        (("token", "create", "x", "--max-downloads", "0"), "--max-downloads must be at least 1, not '0'"),
        (("token", "create", "x", "--max-downloads", "a"), "must be a whole number, not 'a'"),
        (("key", "create", "x", "--role", "king"), "--role must be admin or mint, not 'king'"),
        (("token", "create", "a", "b", "c"), "'c' is too much"),
        (("up", "--json"), "there is no option --json"),
        (("up", "--data"), "--data needs a value"),
        (("up", "--debug=1"), "--debug takes no value"),
    ],
)
def test_wrong_usage(arguments: tuple[str, ...], wanted: str, complain: Callable[..., Fault]) -> None:
    fault = complain(*arguments)
    assert fault.code == 2
    [line] = fault.lines
    assert wanted in line


def test_all_faults_of_the_settings_are_reported(gateway: Gateway) -> None:
    gateway.variables |= {"GATEWAY_WORKERS": "0", "GATEWAY_LISTENN": "x"}
    done = gateway.run("serve", "--stall-timeout", "-1", code=1)
    assert [line.split(":")[1].strip() for line in done.stderr.splitlines()] == [
        "GATEWAY_LISTENN", "GATEWAY_WORKERS", "--stall-timeout",
    ]  # fmt: skip


@pytest.mark.parametrize("command", ["up", "serve"])
def test_a_storage_without_its_folder_is_reported_at_the_start(
    command: str, gateway: Gateway, tmp_path: Path
) -> None:
    gateway.variables["GATEWAY_STORAGE__GONE__ROOT"] = "gone"
    fault = gateway.fault(command)
    assert fault == (
        f"storage gone: {tmp_path}/gone does not exist: make it, mount it, or correct the storage's root"
    )


def test_the_store_is_away(gateway: Gateway, own_store: StoreServer) -> None:
    gateway.variables["GATEWAY_REDIS_URL"] = own_store.url.replace("unix://", "unix://:hunter2@")
    own_store.stop()
    fault = gateway.fault("token", "list")
    assert "store" in fault
    assert "hunter2" not in fault


async def test_an_unexpected_fault_is_one_line_without_secrets(gateway: Gateway, store: StoreServer) -> None:
    token = new_token()
    async with Repositories.connect(store.url, STORE_SECONDS) as link:
        await link.client.call("SADD", "dg:products", "x")
        await link.client.call("HSET", "dg:product:{x}", "created", token)
    fault = gateway.fault("product", "list")
    assert fault.startswith("unexpected error: ValueError: ")
    assert fault.endswith("(--debug or GATEWAY_DEBUG=1 shows the traceback)")
    assert token not in fault
    assert "Traceback" in gateway.run("product", "list", "--debug", code=1).stderr


@pytest.mark.slow
def test_a_reader_that_goes_away_is_no_fault(gateway: Gateway) -> None:
    ours, theirs = os.pipe()
    os.close(ours)
    process = gateway.start("up", "--help", stdout=theirs, stderr=subprocess.PIPE)
    os.close(theirs)
    _, errors = process.communicate()
    assert (process.returncode, errors) == (141, b"")


@pytest.mark.slow
def test_ctrl_c_during_long_work(gateway: Gateway, tmp_path: Path) -> None:
    big = tmp_path / "big.bin"
    big.touch()
    os.truncate(big, 1 << 40)  # no blocks, but long to read
    process = gateway.start("product", "add", "big", "1", big, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    storages = tmp_path / ".download-gateway/storages.json"
    wait_until(storages.exists, "hashing begins", 60)
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    out, errors = process.communicate(timeout=60)
    assert (process.returncode, out, errors) == (130, b"", b"download-gateway: interrupted\n")
