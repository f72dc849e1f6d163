"""The supervisor with real processes: it restarts those that die, ends all at the end, refuses no client."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import signal
import socket
import stat
import termios
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import redis

from gateway.store.server_program import BUNDLED, choose_server
from gateway.supervisor.children import describe_end
from gateway.supervisor.services import SERVICES, Service
from gateway.supervisor.slots import FIRST_DELAY_SECONDS, HEALTHY_SECONDS, LONGEST_DELAY_SECONDS, BackOff
from tests.support.processes import is_running
from tests.support.supervised import NO_PORT, PATIENCE_SECONDS, Gateway, wait_until
from tests.support.timing import lasts


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Gateway]:
    made = Gateway(tmp_path)
    yield made
    made.end()


@pytest.mark.slow
@pytest.mark.timing
def test_a_killed_worker_is_replaced_and_the_connections_that_waited_are_served(gateway: Gateway) -> None:
    gateway.start()
    former = gateway.about()["pid"]
    os.kill(former, signal.SIGKILL)
    wait_until(lambda: not is_running(former), "the worker is dead")
    with lasts(most=5):
        assert gateway.about()["pid"] != former  # connected while nobody accepted
    assert gateway.metric('gateway_restarts_total{role="worker"}') == 1
    assert gateway.metric("gateway_bytes_sent_total") == 200  # the dead one's count is kept
    wait_until(lambda: gateway.metric("gateway_connections") == 0, "the connection counts no more")
    ended = next(line for line in gateway.log() if line["event"] == "ended by SIGKILL")
    assert (ended["child"], ended["pid"], ended["level"]) == ("worker 0", former, "error")


@pytest.mark.slow
@pytest.mark.timing
def test_a_killed_store_is_restarted_with_everything_in_it(gateway: Gateway) -> None:
    gateway.start()
    url = gateway.about()["redis_url"]
    assert url == f"unix://{gateway.data}/store/store.sock"
    with redis.Redis.from_url(url, retry=None) as client:
        client.set("answer", 42)
        former = gateway.health()["store"]["pid"]
        os.kill(former, signal.SIGKILL)

        def is_back() -> bool:
            with contextlib.suppress(redis.exceptions.ConnectionError):
                return bool(client.get("answer") == b"42")
            return False

        with lasts(most=2):
            wait_until(is_back, "the store is back")
        [ended] = [line for line in gateway.log() if line["event"] == "ended by SIGKILL"]
        assert any("Ready to accept connections" in words for words in ended["said"])
    wait_until(lambda: gateway.health()["status"] == "ok", "all is well")
    assert gateway.health()["store"]["pid"] != former
    assert gateway.health()["store"]["restarts"] == 1
    [runs] = [line for line in gateway.log() if line["event"] == "the embedded store runs"]
    assert (runs["origin"], runs["program"]) == (BUNDLED, choose_server().path)

    def store_starts() -> list[dict[str, Any]]:
        return [line for line in gateway.log() if (line.get("child"), line["event"]) == ("store", "started")]

    wait_until(
        store_starts, "the restart is in the log"
    )  # /healthz asks the store itself, and may know first
    [again] = store_starts()
    assert again["server"] == str(choose_server())


@pytest.mark.slow
def test_nothing_is_left_when_the_supervisor_is_killed_and_the_next_one_takes_over(gateway: Gateway) -> None:
    gateway.configure(workers=2)
    gateway.start()
    everything = [*gateway.pids(), gateway.health()["store"]["pid"]]
    gateway.send(signal.SIGKILL)
    gateway.wait()
    wait_until(lambda: not any(map(is_running, everything)), "everything is gone")
    gateway.end()
    gateway.start()
    assert gateway.about()["pid"] not in everything


@pytest.mark.slow
def test_sigterm_lets_downloads_finish_and_refuses_new_ones(gateway: Gateway) -> None:
    gateway.configure(workers=2)
    gateway.start()
    everything = [*gateway.pids(), gateway.health()["store"]["pid"]]
    with ThreadPoolExecutor(4) as pool:
        downloads = [pool.submit(gateway.ask, "/slow") for _ in range(4)]
        wait_until(lambda: gateway.metric("gateway_connections") == 4, "the downloads have begun")
        gateway.send(signal.SIGTERM)

        def is_refused() -> bool:
            try:
                gateway.ask()
            except ConnectionRefusedError:
                return True
            except OSError:
                pass
            return False

        wait_until(is_refused, "new connections are refused")
        assert gateway.health()["status"] == "draining"
        assert gateway.health()["store"]["state"] == "ready"
        gateway.release()
        assert [download.result() for download in downloads] == [b"x" * 15] * 4
    assert gateway.wait() == 0
    assert not any(map(is_running, everything))


@pytest.mark.slow
def test_a_second_ctrl_c_ends_at_once(gateway: Gateway) -> None:
    gateway.environment["STAND_IN"] = "stubborn"
    gateway.start()
    (worker,) = gateway.pids()
    gateway.send(signal.SIGINT)
    wait_until(lambda: gateway.health().get("status") == "draining", "it drains")
    gateway.send(signal.SIGINT)
    assert gateway.wait() == 0
    assert not is_running(worker)


@pytest.mark.slow
def test_a_child_that_does_not_end_is_ended_after_the_drain_timeout(gateway: Gateway) -> None:
    gateway.environment["STAND_IN"] = "stubborn"
    gateway.configure(drain_timeout=0.2)
    gateway.start()
    (worker,) = gateway.pids()
    gateway.send(signal.SIGTERM)
    assert gateway.wait() == 0
    assert not is_running(worker)
    assert "processes that still run after drain_timeout and are killed: 1" in gateway.events()


@pytest.mark.slow
def test_a_reload_refuses_nobody_and_drops_no_download(gateway: Gateway) -> None:
    gateway.start()
    stop = threading.Event()

    def hammer() -> int:
        count = 0
        while not stop.is_set():
            assert gateway.about()["pid"]
            count += 1
        return count

    with ThreadPoolExecutor(3) as pool:
        download = pool.submit(gateway.ask, "/slow")
        wait_until(lambda: gateway.metric("gateway_connections") == 1, "the download has begun")
        hammers = [pool.submit(hammer) for _ in range(2)]
        former = gateway.pids()
        for done, (workers, mark) in enumerate(((2, 1111), (1, 2222))):  # more workers, then fewer
            gateway.configure(workers=workers, max_line=mark)
            gateway.send(signal.SIGHUP)
            wait_until(partial(gateway.has_reloaded, done + 1), "it is reloaded")
            assert len(gateway.pids()) == workers

            def has_only(mark: int = mark) -> bool:
                """A worker that was told to end may accept connections until it has read that."""
                return {gateway.about()["mark"] for _ in range(20)} == {mark}

            wait_until(has_only, "all answers are of the new settings")
        stop.set()
        gateway.release()
        assert download.result() == b"x" * 15
        assert all(hammer.result() > 0 for hammer in hammers)
    wait_until(lambda: not any(map(is_running, former)), "the old worker is gone")
    assert gateway.metric('gateway_restarts_total{role="worker"}') == 0


@pytest.mark.slow
def test_faulty_settings_are_named_and_the_old_ones_kept(gateway: Gateway) -> None:
    gateway.start()
    former = gateway.pids()
    gateway.configure(workers=-1, max_line=3)
    gateway.send(signal.SIGHUP)
    wait_until(
        lambda: sum(event.startswith("not reloaded: ") for event in gateway.events()) == 2,
        "both are reported",
    )
    assert any("workers" in event for event in gateway.events())
    assert any("max_line" in event for event in gateway.events())
    assert gateway.pids() == former
    assert gateway.about()["pid"] in former


@pytest.mark.slow
def test_a_reload_whose_children_do_not_start_keeps_the_old_ones(gateway: Gateway, tmp_path: Path) -> None:
    (tmp_path / "word").write_text("")
    gateway.environment["STAND_IN"] = f"file:{tmp_path / 'word'}"
    gateway.start()
    former = gateway.pids()
    (tmp_path / "word").write_text("fail")
    gateway.send(signal.SIGHUP)
    fault = "not reloaded: worker 0 could not start: the disk is on fire"
    wait_until(lambda: fault in gateway.events(), "the fault is reported")
    assert gateway.pids() == former
    assert gateway.about()["pid"] in former


@pytest.mark.slow
def test_a_changed_address_waits_for_the_next_start(gateway: Gateway) -> None:
    gateway.start()
    gateway.configure(listen=f"127.0.0.1:{NO_PORT}")
    gateway.send(signal.SIGHUP)
    wait_until(gateway.has_reloaded, "it is reloaded")
    assert "a new listen takes effect at the next start" in gateway.events()
    assert gateway.about()["pid"]


@pytest.mark.slow
def test_a_child_that_keeps_dying_is_started_again_until_it_lives(gateway: Gateway, tmp_path: Path) -> None:
    (tmp_path / "word").write_text("")
    gateway.environment["STAND_IN"] = f"file:{tmp_path / 'word'}"
    gateway.start()
    (tmp_path / "word").write_text("crash")
    os.kill(gateway.pids()[0], signal.SIGKILL)
    fault = "worker 0 could not start: it ended with exit code 3 before it was ready"
    wait_until(lambda: gateway.events().count(fault) >= 2, "it failed twice")
    assert gateway.health()["status"] == "degraded"
    (tmp_path / "word").write_text("")
    assert gateway.about()["pid"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("word", "fault"),
    [
        ("fail", "worker 0 could not start: the disk is on fire"),
        ("crash", "worker 0 could not start: it ended with exit code 3 before it was ready"),
    ],
)
def test_a_child_that_cannot_start_at_all_is_a_fault(gateway: Gateway, word: str, fault: str) -> None:
    gateway.environment["STAND_IN"] = word
    assert gateway.spawn().wait(PATIENCE_SECONDS) == 1
    assert f"fault: {fault}" in gateway.errors.read_text().splitlines()


@pytest.mark.slow
def test_it_can_be_stopped_while_children_start(gateway: Gateway) -> None:
    gateway.environment["STAND_IN"] = "hang"
    gateway.spawn()
    wait_until(lambda: gateway.health().get("store"), "the store runs")
    store = gateway.health()["store"]["pid"]
    gateway.send(signal.SIGTERM)
    assert gateway.wait() == 0
    assert not is_running(store)


@pytest.mark.parametrize("reuse", [False, True])
def test_a_port_in_use_is_one_line_that_names_address_and_setting(gateway: Gateway, reuse: bool) -> None:
    with socket.socket() as other:
        if reuse:
            other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("0.0.0.0", 0))
        other.listen()
        gateway.listen = f"127.0.0.1:{other.getsockname()[1]}"
        gateway.configure()
        assert gateway.spawn().wait(PATIENCE_SECONDS) == 1
    fault = (
        f"cannot listen on {gateway.listen}: another process already listens there; stop it or change listen"
    )
    assert gateway.errors.read_text() == f"fault: {fault}\n"


@pytest.mark.slow
def test_two_on_one_data_folder(gateway: Gateway, tmp_path: Path) -> None:
    gateway.command = "up"
    gateway.start()
    (tmp_path / "other").mkdir()
    second = Gateway(tmp_path / "other", "up")
    second.data = gateway.data
    second.configure()
    assert second.spawn().wait(PATIENCE_SECONDS) == 1
    second.end()
    assert gateway.process
    assert second.errors.read_text() == (
        f"fault: {gateway.data} is in use by process {gateway.process.pid} (download-gateway up): "
        "stop it, or choose another folder with --data\n"
    )


@pytest.mark.slow
def test_up_runs_every_service(gateway: Gateway) -> None:
    gateway.command = "up"
    gateway.start()
    health = gateway.health()
    assert [child["name"] for child in health["children"]] == ["worker 0", "mint 0", "web 0"]
    for service in SERVICES:
        assert json.loads(gateway.ask(setting=service.listen))["pid"] in gateway.pids()
        assert gateway.metric(f'gateway_children_up{{role="{service.name}"}}') == 1
    commands = [Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0") for pid in gateway.pids()]
    assert all(service.name.encode() in words for service, words in zip(SERVICES, commands, strict=True))


def owner(data: Path) -> int:
    """The process that owns the embedded store of a data folder; 0 while that is being written."""
    text = (data / "store/lock").read_bytes()
    return int(json.loads(text)["pid"]) if text else 0


@pytest.mark.slow
@pytest.mark.parametrize(
    "service", [each for each in SERVICES if each.command != "serve"], ids=lambda service: service.name
)
def test_another_service_shares_the_store_and_takes_it_over(
    service: Service, gateway: Gateway, tmp_path: Path
) -> None:
    gateway.start()
    (tmp_path / "other").mkdir()
    other = Gateway(tmp_path / "other", service.command)
    other.data = gateway.data
    other.configure()
    try:
        process = other.spawn()
        wait_until(lambda: service.log_text in other.errors.read_text(), "it serves")
        assert gateway.process
        assert owner(gateway.data) == gateway.process.pid
        gateway.send(signal.SIGTERM)
        assert gateway.wait() == 0
        wait_until(lambda: owner(gateway.data) == process.pid, "it took over")
        wait_until(lambda: bool(other.ask(setting=service.listen)), "it serves on")
    finally:
        other.end()


@pytest.mark.slow
def test_a_unix_socket(gateway: Gateway, tmp_path: Path) -> None:
    path = tmp_path / "gateway.sock"
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(path))
    gateway.listen = f"unix:{path}"
    gateway.configure(workers=2)
    gateway.start()
    assert stat.S_IMODE(path.stat().st_mode) == 0o660
    slots = set()
    for _ in range(200):
        with socket.socket(socket.AF_UNIX) as link:
            link.connect(str(path))
            link.sendall(b"GET / HTTP/1.0\r\n\r\n")
            with link.makefile("rb") as answer:
                slots.add(json.loads(answer.read().partition(b"\r\n\r\n")[2])["slot"])
    assert slots <= {0, 1}
    gateway.send(signal.SIGTERM)
    assert gateway.wait() == 0
    assert not path.exists()


@pytest.mark.slow
def test_it_ends_when_its_terminal_is_closed(gateway: Gateway) -> None:
    outer, inner = pty.openpty()

    def take_terminal() -> None:
        os.setsid()
        fcntl.ioctl(inner, termios.TIOCSCTTY, 0)

    gateway.start(stdin=inner, preexec_fn=take_terminal)
    os.close(inner)
    os.close(outer)
    assert gateway.wait() == 0
    assert "the terminal was closed: stopping" in gateway.events()


def test_back_off_grows_to_its_bound_and_begins_anew_after_health() -> None:
    back_off = BackOff()
    delays = [back_off.next() for _ in range(20)]
    assert 0.5 * FIRST_DELAY_SECONDS < delays[0] <= FIRST_DELAY_SECONDS
    assert max(delays) <= LONGEST_DELAY_SECONDS
    assert delays[-1] >= 0.7 * LONGEST_DELAY_SECONDS
    assert back_off.next(lived=HEALTHY_SECONDS) <= FIRST_DELAY_SECONDS


def test_ends_are_described() -> None:
    assert describe_end(0) == "with exit code 0"
    assert describe_end(-9) == "by SIGKILL"
    assert describe_end(-120) == "by signal 120"
