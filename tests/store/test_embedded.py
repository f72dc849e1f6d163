"""The embedded store, with real servers: it has one owner, loses nothing, and leaves nothing behind."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from gateway.config.settings import Settings
from gateway.errors import GatewayError, StoreUnavailable
from gateway.store.embedded import EmbeddedStore, State, open_store
from tests.support.processes import is_running
from tests.support.waiting import wait_until


def server_pid(url: str) -> int:
    with redis.Redis.from_url(url) as client:
        return int(client.info("server")["process_id"])


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def settings(data: Path) -> Settings:
    return Settings(data=data)


@pytest.fixture
def embedded(data: Path) -> Iterator[EmbeddedStore]:
    opened = EmbeddedStore(data)
    opened.acquire("up")
    opened.spawn()
    opened.wait_ready()
    yield opened
    opened.close()


OWNER = """
import sys, time
from gateway.store.embedded import open_store
from gateway.config.settings import Settings
from pathlib import Path
with open_store(Settings(data=Path(sys.argv[1])), sys.argv[2]) as url:
    print(url, flush=True)
    sys.stdin.read()
"""


def start_owner(data: Path, command: str = "up") -> subprocess.Popen[str]:
    """A process of its own that opens the store and holds it until its standard input ends."""
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER, str(data), command],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert owner.stdout
    assert owner.stdout.readline().startswith("unix://")
    return owner


def end_owner(owner: subprocess.Popen[str]) -> None:
    owner.kill()
    owner.communicate()


def test_a_configured_store_is_used_and_nothing_is_started(data: Path) -> None:
    with open_store(Settings(data=data, redis_url="redis://store.example:6379")) as url:
        assert url == "redis://store.example:6379"
    assert not data.exists()


def test_state_survives_a_restart_and_its_folder_is_private(settings: Settings, data: Path) -> None:
    with open_store(settings) as url, redis.Redis.from_url(url) as client:
        client.set("answer", 42)
        assert client.config_get("port") == {"port": "0"}
        assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
        for path in (data / "store", data / "store" / "store.sock"):
            assert stat.S_IMODE(path.stat().st_mode) == 0o700
        pid = server_pid(url)
    assert not is_running(pid)
    for path in (data / "store").rglob("*"):
        assert not path.stat().st_mode & 0o077
    with open_store(settings) as url, redis.Redis.from_url(url) as client:
        assert client.get("answer") == b"42"


@pytest.mark.slow
def test_the_server_ends_when_its_owner_is_killed_and_the_next_owner_finds_everything(
    settings: Settings, data: Path
) -> None:
    owner = start_owner(data)
    with open_store(settings) as url, redis.Redis.from_url(url) as client:
        pid = server_pid(url)
        client.set("answer", 42)
    end_owner(owner)
    wait_until(lambda: not is_running(pid), "the server is gone")
    with open_store(settings) as url, redis.Redis.from_url(url) as client:
        assert client.get("answer") == b"42"
        assert server_pid(url) != pid


def test_a_server_that_outlives_its_owner_keeps_the_lock(data: Path) -> None:
    first = EmbeddedStore(data)
    first.acquire("up")
    first.spawn()
    first.wait_ready()
    server = first.process
    assert server
    server.send_signal(signal.SIGSTOP)
    first.process = None
    first.close()  # as if the owner were gone and the server hung
    with pytest.raises(GatewayError, match="is in use by another process"):
        EmbeddedStore(data).acquire("up", max_wait=0.2)
    server.kill()
    server.wait()
    second = EmbeddedStore(data)
    second.acquire("up")
    second.close()


@pytest.mark.slow
def test_a_command_waits_for_those_that_use_its_store(settings: Settings, data: Path) -> None:
    first = start_owner(data, "product add")
    second = start_owner(data, "token list")
    assert first.stdin
    first.stdin.close()  # the first is done and would stop the store
    with pytest.raises(subprocess.TimeoutExpired):
        first.wait(0.3)
    assert redis.Redis.from_url(f"unix://{data}/store/store.sock").ping()
    second.communicate()
    assert first.wait(60) == 0
    assert first.stdout
    first.stdout.close()
    with open_store(settings) as url:
        assert redis.Redis.from_url(url).ping()


def test_a_folder_with_a_long_name_works(tmp_path: Path) -> None:
    data = tmp_path / ("long " * 30) / "ünï%20code #?"
    with open_store(Settings(data=data)) as url, redis.Redis.from_url(url) as client:
        assert client.set("answer", 42)
        assert (data / "store" / "store.sock").exists()


def test_a_torn_tail_is_loaded_without_the_torn_command(settings: Settings, data: Path) -> None:
    with open_store(settings) as url, redis.Redis.from_url(url) as client:
        client.set("kept", 1)
    (log,) = (data / "store" / "appendonlydir").glob("*.incr.aof")
    with log.open("ab") as tail:
        tail.write(b"*3\r\n$3\r\nSET\r\n$4\r\nto")
    with open_store(settings) as url, redis.Redis.from_url(url) as client:
        assert client.keys() == [b"kept"]


def test_damaged_data_is_one_clear_line_with_the_servers_own_words(settings: Settings, data: Path) -> None:
    with open_store(settings) as url, redis.Redis.from_url(url) as client:
        client.set("kept", 1)
    (log,) = (data / "store" / "appendonlydir").glob("*.incr.aof")
    log.write_bytes(b"damaged " * 10 + log.read_bytes())
    with pytest.raises(GatewayError) as caught, open_store(settings):
        pass
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(f"the embedded store ended (exit code 1); {data}/store/store.log says: ")
    assert "Bad file format reading the append only file" in message


def test_a_full_disk_refuses_writes_and_recovers_by_itself(embedded: EmbeddedStore) -> None:
    assert embedded.process
    pid, unlimited = embedded.process.pid, resource.RLIM_INFINITY
    with redis.Redis.from_url(embedded.url) as client:
        client.set("before", 1)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (1, unlimited))
        with contextlib.suppress(redis.exceptions.ResponseError):
            client.set("during", 1)
        wait_until(lambda: embedded.state() is State.FULL, "the server has noticed")
        with pytest.raises(redis.exceptions.ResponseError, match="MISCONF"):
            client.set("during", 1)
        assert client.get("before") == b"1"
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (unlimited, unlimited))
        wait_until(lambda: embedded.state() is State.READY, "there is room again")
        client.set("after", 1)
    assert embedded.process.poll() is None


@pytest.mark.slow
def test_a_store_that_hangs_is_reported(
    settings: Settings, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner = start_owner(data)
    try:
        with open_store(settings) as url:
            pid = server_pid(url)
        os.kill(pid, signal.SIGSTOP)
        monkeypatch.setattr("gateway.store.embedded.MAX_WAIT_SECONDS", 0.3)
        with (
            pytest.raises(StoreUnavailable, match=r"does not answer: see .*store\.log"),
            open_store(settings),
        ):
            pass
    finally:
        end_owner(owner)
    wait_until(lambda: not is_running(pid), "the hung server is gone too")


def test_the_log_is_bounded(data: Path) -> None:
    (data / "store").mkdir(parents=True)
    (data / "store" / "store.log").write_bytes(b"x" * (2 << 20))
    with open_store(Settings(data=data)):
        assert (data / "store" / "store.log").stat().st_size < 100_000
    assert (data / "store" / "store.log.1").exists()
