"""Which program the embedded store is: a table of choices, and the real servers of this machine."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import redis

from gateway.cli.checks import Level
from gateway.cli.checks.store import check_server
from gateway.config.settings import Settings
from gateway.errors import GatewayError
from gateway.store import server_program
from gateway.store.embedded import EmbeddedStore, open_store
from gateway.store.server_program import BUNDLED, SYSTEM, choose_server, find_bundled
from tests.support.programs import need

VALKEY = "Valkey server v=9.0.1 sha=00000000:0 malloc=libc bits=64 build=0"
REDIS = "Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc-5.3.0 bits=64 build=0"
OLD = "Redis server v=6.2.14 sha=00000000:0 malloc=jemalloc bits=64 build=0"
NO_BUNDLED = "no server is installed"


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Makes a machine whose PATH has programs by name, which say what is given as their version."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))

    def make(programs: dict[str, str], bundled: bool = True) -> Path:
        for name, says in programs.items():
            program = folder / name
            program.write_text(f"#!/bin/sh\necho '{says}'\n")
            program.chmod(0o755)
        if not bundled:
            monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
        return folder

    return make


@pytest.mark.parametrize(
    ("choice", "programs", "bundled", "origin", "version", "doubt"),
    [
        (BUNDLED, {"valkey-server": VALKEY}, True, BUNDLED, "Valkey 9", ""),
        (BUNDLED, {}, True, BUNDLED, "Valkey 9", ""),
        (BUNDLED, {"valkey-server": VALKEY}, False, SYSTEM, "Valkey 9.0.1", ""),
        (BUNDLED, {"redis-server": REDIS}, False, SYSTEM, "Redis 7.0.15", ""),
        (SYSTEM, {"valkey-server": VALKEY, "redis-server": REDIS}, True, SYSTEM, "Valkey 9.0.1", ""),
        (SYSTEM, {"redis-server": REDIS}, True, SYSTEM, "Redis 7.0.15", ""),
        (SYSTEM, {"redis-server": REDIS}, False, SYSTEM, "Redis 7.0.15", ""),
        (SYSTEM, {"valkey-server": "?", "redis-server": REDIS}, True, SYSTEM, "Redis 7.0.15", ""),
        (SYSTEM, {"redis-server": OLD}, True, BUNDLED, "Valkey 9", "older than 7.0"),
        (SYSTEM, {"redis-server": "nginx/1.22"}, True, BUNDLED, "Valkey 9", "neither a Valkey nor a Redis"),
        (SYSTEM, {}, True, BUNDLED, "Valkey 9", "no valkey-server or redis-server on PATH"),
    ],
)
def test_the_choice(
    machine: Callable[..., Path],
    choice: str,
    programs: dict[str, str],
    bundled: bool,
    origin: str,
    version: str,
    doubt: str,
) -> None:
    machine(programs, bundled)
    program = choose_server(choice)
    assert (program.origin, program.version[: len(version)]) == (origin, version)
    assert (doubt in program.doubt) if doubt else not program.doubt
    finding = check_server(choice)
    assert finding.level is (Level.WARN if doubt else Level.OK)
    assert program.version in finding.text
    assert program.path in finding.text


@pytest.mark.parametrize("choice", [BUNDLED, SYSTEM])
@pytest.mark.parametrize("programs", [{}, {"redis-server": OLD}])
def test_a_machine_without_a_server(
    machine: Callable[..., Path], choice: str, programs: dict[str, str]
) -> None:
    machine(programs, bundled=False)
    with pytest.raises(GatewayError) as fault:
        choose_server(choice)
    assert "install valkey-server or redis-server, or set redis_url" in str(fault.value)
    assert NO_BUNDLED in str(fault.value)
    assert check_server(choice).level is Level.FAIL


@pytest.mark.parametrize(
    ("says", "fault"),
    [(VALKEY, ""), (OLD, "older than 7.0"), ("hello", "is neither"), (None, "is no program that can be run")],
)
def test_a_program_by_its_path_is_used_or_a_fault(
    machine: Callable[..., Path], says: str | None, fault: str
) -> None:
    folder = machine({} if says is None else {"my-server": says})
    choice = str(folder / "my-server")
    if not fault:
        assert str(choose_server(choice)) == f"Valkey 9.0.1 (set: {choice})"
        return
    with pytest.raises(GatewayError, match=fault) as caught:
        choose_server(choice)
    assert str(caught.value).startswith("embedded_server: ")
    assert check_server(choice).level is Level.FAIL


def test_a_program_that_hangs_or_is_no_program(
    machine: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_program, "ANSWER_SECONDS", 0.1)
    folder = machine({})
    hanging = folder / "valkey-server"
    hanging.write_text("#!/bin/sh\nwhile :; do :; done\n")
    broken = folder / "redis-server"
    broken.write_bytes(b"\x7fELF but broken")
    for program in (hanging, broken):
        program.chmod(0o755)
    assert choose_server(SYSTEM).doubt == f"{hanging} cannot be run and {broken} cannot be run"


def executable(url: str) -> str:
    with redis.Redis.from_url(url) as client:
        return os.path.realpath(str(client.info("server")["executable"]))


def test_the_system_s_server_runs_and_keeps_what_it_is_given(tmp_path: Path) -> None:
    path = need("redis-server")
    settings = Settings(data=tmp_path, embedded_server=SYSTEM)
    expected = os.path.realpath(choose_server(SYSTEM).path)
    for number in range(2):
        with open_store(settings) as url, redis.Redis.from_url(url) as client:
            assert executable(url) == expected
            assert client.incr("starts") == number + 1
    assert os.path.realpath(path) == expected or "valkey" in expected


@pytest.mark.slow
def test_a_system_s_server_that_cannot_read_the_files_is_replaced(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The bundled server has written them, and is newer."""
    path = need("redis-server")
    bundled = find_bundled()
    assert not isinstance(bundled, str)
    with open_store(Settings(data=tmp_path)) as url, redis.Redis.from_url(url) as client:
        client.set("kept", "yes")
        client.bgrewriteaof()
        while client.info("persistence")["aof_rewrite_in_progress"]:
            pass
    with (
        open_store(Settings(data=tmp_path, embedded_server=SYSTEM)) as url,
        redis.Redis.from_url(url) as client,
    ):
        assert client.get("kept") == b"yes"
        if executable(url) != os.path.realpath(bundled.path):
            pytest.skip("this machine's server reads what the bundled one writes")
    assert "change no file: another server than Redis" in caplog.text
    assert f"using {bundled}" in caplog.text
    store = EmbeddedStore(tmp_path, path)  # named by its path it is not replaced
    store.acquire("up")
    store.spawn()
    with pytest.raises(GatewayError, match="and embedded_server chooses it"):
        store.wait_ready()
    store.close()
