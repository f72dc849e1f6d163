"""`download-gateway up`, whole: the real command, real workers, real downloads."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import random
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

import pytest

from tests.support.processes import is_running
from tests.support.up import Up
from tests.support.waiting import wait_until


@cache
def content() -> bytes:
    """What is sold here: made when it is needed, since it takes a while."""
    return random.Random(1).randbytes(24 << 20)


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Up]:
    made = Up(tmp_path)
    yield made
    if made.process is not None and made.process.poll() is None:
        made.stop(signal.SIGKILL)


def open_download(url: str, offset: int = 0) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
    parts = urlsplit(url)
    link = http.client.HTTPConnection(parts.netloc, timeout=60)
    link.request(
        "GET", f"{parts.path}?{parts.query}", headers={"Range": f"bytes={offset}-"} if offset else {}
    )
    return link, link.getresponse()


def download(url: str) -> bytes:
    link, answer = open_download(url)
    try:
        assert answer.status == 200
        return answer.read()
    finally:
        link.close()


def download_stubbornly(url: str) -> bytes:
    """As a download manager does: what breaks off is resumed."""
    got = b""
    deadline = time.monotonic() + 120
    while len(got) < len(content()):
        assert time.monotonic() < deadline, f"only {len(got)} bytes"
        try:
            link, answer = open_download(url, len(got))
            assert answer.status in (200, 206)
            while piece := answer.read1(1 << 20):
                got += piece
            link.close()
        except (OSError, http.client.HTTPException):
            continue
    return got


@pytest.mark.slow
def test_links_work_at_once_and_outlive_a_kill_and_a_restart(up: Up) -> None:
    (up.folder / "Épic Kit.zip").write_bytes(content())
    (up.folder / "kit" / "sub").mkdir(parents=True)
    (up.folder / "kit" / "sub" / "a.wav").write_bytes(b"a" * 1000)
    (up.folder / "kit" / "z.wav").write_bytes(b"z")
    one, several = up.start("Épic Kit.zip", "kit")
    assert download(one) == content()
    assert b"sub/a.wav" in download(several)
    assert "epic-kit.zip, version 1: 1 file, 24.0 MiB\n" in up.output
    key = up.command("key", "create", "operator", "--role", "admin", "--json")
    secret = json.loads(key.communicate()[0])["key"]
    assert key.returncode == 0
    [admin_api] = [line.split()[3].rstrip(":") for line in up.output if line.startswith("Admin API at ")]
    request = Request(f"{admin_api}/api/downloads/tokens", headers={"Authorization": f"Bearer {secret}"})
    with urlopen(request, timeout=60) as response:
        assert {token["productId"] for token in json.load(response)["tokens"]} == {"epic-kit.zip", "kit"}
    link = up.command("token", "create", "kit").communicate()[0].strip()
    assert b"sub/a.wav" in download(link), "it says where this `up` listens"
    printed = up.command("token", "create", "kit", "--listen", "127.0.0.1:1").communicate()[0]
    assert printed.startswith("http://127.0.0.1:1/download/ct_")
    up.stop(signal.SIGKILL)
    again = up.start("Épic Kit.zip", "kit")
    assert "epic-kit.zip, version 1: 1 file, 24.0 MiB\n" in up.output
    assert not {one, several} & set(again)
    assert download(one) == content()
    assert up.stop(signal.SIGINT) == 0


@pytest.mark.slow
def test_a_download_outlives_a_reload_and_sigterm(up: Up) -> None:
    (up.folder / "kit.zip").write_bytes(content())
    [url] = up.start("kit.zip")
    assert up.process
    former = [child["pid"] for child in up.health()["children"]]
    link, answer = open_download(url)
    head = answer.read(1000)
    up.process.send_signal(signal.SIGHUP)
    wait_until(lambda: '"reloaded"' in up.errors(), "it is reloaded")
    assert not set(former) & {child["pid"] for child in up.health()["children"]}
    assert download(url) == content()
    other, second = open_download(url)
    up.process.send_signal(signal.SIGTERM)

    def is_refused() -> bool:
        try:
            open_download(url)[0].close()
        except OSError as error:
            return isinstance(error, ConnectionRefusedError)
        return False

    wait_until(is_refused, "new connections are refused")
    assert hashlib.sha256(head + answer.read()).digest() == hashlib.sha256(content()).digest()
    assert second.read() == content()
    link.close()
    other.close()
    up.process.communicate(timeout=60)
    assert up.process.returncode == 0
    assert not any(map(is_running, former))


@pytest.mark.slow
def test_a_worker_killed_under_load_costs_nobody_the_download(up: Up) -> None:
    (up.folder / "kit.zip").write_bytes(content())
    [url] = up.start("kit.zip")
    with ThreadPoolExecutor(6) as pool:
        downloads = [pool.submit(download_stubbornly, url) for _ in range(18)]
        wait_until(downloads[0].done, "the load is on", 120)
        os.kill(up.health()["children"][0]["pid"], signal.SIGKILL)
        assert all(each.result() == content() for each in downloads)
    wait_until(lambda: up.health()["children"][0]["restarts"] == 1, "the worker is started again", 60)
    wait_until(lambda: up.health()["status"] == "ok", "all is well", 60)
    assert up.stop() == 0


@pytest.mark.slow
def test_paths_that_cannot_be_published_start_nothing(up: Up) -> None:
    (up.folder / "socket").mkdir()
    process = up.command("up", *up.flags, "missing.zip", "socket")
    out, _ = process.communicate(timeout=60)
    assert (process.returncode, out) == (1, "")
    lines = up.errors().splitlines()
    assert len(lines) == 2
    assert lines[0] == "download-gateway: missing.zip does not exist"
    assert "socket has no files to publish" in lines[1]
    assert not (up.folder / ".download-gateway").exists()


@pytest.mark.slow
def test_hashing_can_be_interrupted(up: Up) -> None:
    with (up.folder / "huge").open("wb") as huge:
        huge.truncate(20 << 30)
    process = up.command("up", *up.flags, "huge")
    wait_until(lambda: "mint service serves" in up.errors(), "it hashes")
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=60)[0] == ""
    assert process.returncode == 0
