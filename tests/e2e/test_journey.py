"""From publishing to the last byte, with real programs: publish, mint, download, resume, survive kills."""

from __future__ import annotations

import contextlib
import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.support.journey import RATE, SIZE, Shop, content
from tests.support.waiting import wait_until


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    (tmp_path / "kit.bin").write_bytes(content())
    shop = Shop(tmp_path)
    yield shop
    if shop.process is not None and shop.process.poll() is None:
        shop.stop(signal.SIGKILL)


@pytest.mark.slow
def test_people_download_and_resume_with_what_they_have(shop: Shop) -> None:
    [url] = shop.start("kit.bin")
    part = shop.customer / "kit.bin"

    shop.run("curl", "-sSfO", url)
    assert shop.got("kit.bin")
    part.unlink()

    begun = shop.abort(part, "curl", "-sSfO", "--limit-rate", RATE, url)
    shop.run("curl", "-sSfO", "-C", "-", url)
    assert shop.got("kit.bin")
    part.unlink()

    token = urlsplit(url).path.split("/")[2]
    shop.run("curl", "-sSfOJ", f"http://127.0.0.1:{shop.port}/download?token={token}")  # named by the answer
    assert shop.got("kit.bin")
    part.unlink()

    shop.run("wget", "-q", "-O", "kit.bin", url)
    assert shop.got("kit.bin")
    part.unlink()

    shop.abort(part, "wget", "-q", "--limit-rate", RATE, "-O", "kit.bin", url)
    shop.run("wget", "-q", "-c", "-O", "kit.bin", url)
    assert shop.got("kit.bin")
    part.unlink()

    shop.run("aria2c", "-q", "-x8", "-s8", "-k1M", "--file-allocation=none", "-o", "kit.bin", url)
    assert shop.got("kit.bin")
    part.unlink()

    # A download that was begun is finished with another link.
    shop.abort(part, "curl", "-sSfO", "--limit-rate", RATE, url)
    shop.run("curl", "-sSf", "-C", "-", "-o", "kit.bin", shop.link("kit.bin"))
    assert shop.got("kit.bin")

    token = shop.ask("token", "list")[-1]["tokenId"]
    wait_until(lambda: len(shop.entries(token)) >= 14, "every request is logged")
    ranges = [entry["range"] for entry in shop.entries(token) if entry.get("range")]
    assert f"bytes={begun}-" in ranges
    assert len(ranges) >= 2 + 7


@pytest.mark.slow
def test_a_folder_is_a_product_with_an_index(shop: Shop) -> None:
    folder = shop.folder / "Drum Kit"
    (folder / "loops").mkdir(parents=True)
    files = {"read me.txt": b"hello", "loops/Ünder & über.wav": b"w" * 70_000, "loops/b#1?.wav": b""}
    for name, text in files.items():
        (folder / name).write_bytes(text)
    [url] = shop.start("Drum Kit")
    index = json.loads(shop.run("curl", "-sSf", "-H", "Accept: application/json", url))
    assert {file["name"]: file["size"] for file in index["files"]} == {
        name: len(content) for name, content in files.items()
    }
    base = f"http://127.0.0.1:{shop.port}"
    for file in index["files"]:
        assert shop.run("curl", "-sSf", base + file["url"]) == files[file["name"]]
    page = shop.run("curl", "-sSf", url).decode()
    assert "loops/Ünder &amp; über.wav" in page


@pytest.mark.slow
def test_a_limit_counts_downloads_and_not_attempts(shop: Shop) -> None:
    shop.start("kit.bin")
    url = shop.link("kit.bin", "--max-downloads", "1")
    part = shop.customer / "kit.bin"
    shop.abort(part, "curl", "-sSf", "--limit-rate", RATE, "-o", "kit.bin", url)
    wait_until(lambda: shop.ask("token", "list")[0]["bytesCharged"] < SIZE // 2, "the rest is refunded")
    code = shop.run("curl", "-sS", "-I", "-o", "/dev/null", "-w", "%{http_code}", url)
    assert code == b"200"  # HEAD costs nothing
    charged = shop.ask("token", "list")[0]["bytesCharged"]  # a little more than arrived: what was on its way
    rest = shop.run("curl", "-sSf", "-r", f"{charged}-", url)
    assert rest == content()[charged:]
    refused = shop.run("curl", "-sS", "-w", "\n%{http_code}", url)
    problem, _, code = refused.rpartition(b"\n")
    assert (json.loads(problem)["code"], code) == ("limit_reached", b"403")


@pytest.mark.slow
def test_a_shop_mints_through_the_api(shop: Shop) -> None:
    shop.start("kit.bin")
    [mint] = [line for line in shop.output if line.startswith("Mint service at ")]
    api = mint.split()[3].rstrip(":")
    key = shop.ask("key", "create", "shop", "--role", "mint")["key"]
    wanted = json.dumps({"productId": "kit.bin", "maxDownloads": 3, "customer": {"email": "a@example.com"}})

    def mint_with(*fields: str, body: str = wanted) -> tuple[int, Any]:
        headers = [part for each in fields for part in ("-H", each)]
        out = shop.run(
            *("curl", "-sS", "-w", "\n%{http_code}", "-H", "Content-Type: application/json", *headers),
            *("-d", body, f"{api}/api/generate-download-url"),
        )
        answer, _, status = out.rpartition(b"\n")
        return int(status), json.loads(answer)

    authorised = f"Authorization: Bearer {key}"
    status, made = mint_with(authorised, "Idempotency-Key: order-4711")
    assert (status, made["success"], made["version"]) == (200, True, "1")
    assert urlsplit(made["downloadUrl"]).port == shop.port
    assert made["directUrl"] == made["downloadUrl"].replace("?token=", "/") + "/kit.bin"
    assert mint_with(authorised, "Idempotency-Key: order-4711") == (200, made)
    assert mint_with(authorised, "Idempotency-Key: order-4711", body='{"productId": "kit.bin"}')[0] == 422
    assert mint_with()[0] == 401
    assert mint_with(authorised, body='{"productId": "nothing"}')[0] == 404
    shop.run("curl", "-sSfO", "-J", made["downloadUrl"])
    assert shop.got("kit.bin")


@pytest.mark.slow
def test_whatever_is_killed_comes_back_with_its_state(shop: Shop) -> None:
    shop.start("kit.bin")
    url = shop.link("kit.bin", "--max-downloads", "2")
    shop.run("curl", "-sSf", "-o", "kit.bin", url)
    wait_until(lambda: shop.ask("token", "list")[0]["bytesCharged"] == SIZE, "one download is charged")

    health: Any = shop.health()
    pids = {child["pid"] for child in health["children"]} | {health["store"]["pid"]}
    assert len(pids) == 5  # two workers, the mint service, the web process, the store
    for pid in pids:
        os.kill(pid, signal.SIGKILL)

    def is_well() -> bool:
        with contextlib.suppress(OSError):
            now: Any = shop.health()
            alive = {child["pid"] for child in now["children"]} | {now["store"]["pid"]}
            return now["status"] == "ok" and not alive & pids and None not in alive
        return False

    wait_until(is_well, "everything is back", 60)
    assert shop.ask("token", "list")[0]["bytesCharged"] == SIZE

    assert shop.process
    shop.stop(signal.SIGKILL)
    shop.start("kit.bin")
    shop.run("curl", "-sSf", "-o", "kit.bin", url)
    assert shop.got("kit.bin")
    assert shop.run("curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}", url) == b"403"
