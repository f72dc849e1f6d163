"""As test_journey.py, for a product in a bucket: published in place, downloaded with ordinary programs."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.journey import RATE, SIZE, Shop, content
from tests.support.shop import Shop as Bucket
from tests.support.waiting import wait_until


@pytest.fixture
def seller(tmp_path: Path, shop: Bucket) -> Iterator[Shop]:
    """A machine whose only storage is the bucket."""
    shop.put("drums/kit.bin", content())
    seller = Shop(tmp_path)
    seller.variables = shop.variables("bucket")
    yield seller
    if seller.process is not None and seller.process.poll() is None:
        seller.stop(signal.SIGKILL)


@pytest.mark.slow
def test_people_download_an_object_with_what_they_have(seller: Shop, shop: Bucket) -> None:
    [url] = seller.start(shop.address("drums/kit.bin"))
    part = seller.customer / "kit.bin"

    begun = seller.abort(part, "curl", "-sSfO", "--limit-rate", RATE, url)
    seller.run("curl", "-sSfO", "-C", "-", url)
    assert seller.got("kit.bin")
    part.unlink()

    seller.abort(part, "wget", "-q", "--limit-rate", RATE, "-O", "kit.bin", url)
    seller.run("wget", "-q", "-c", "-O", "kit.bin", url)
    assert seller.got("kit.bin")
    part.unlink()

    limited = seller.link("kit.bin", "--max-downloads", "1")
    aria2c = ("aria2c", "-q", "-x8", "-s8", "-k1M", "--file-allocation=none", "-o", "kit.bin")
    seller.run(*aria2c, limited)
    assert seller.got("kit.bin")

    def charged() -> int:
        return int(seller.ask("token", "list")[0]["bytesCharged"])

    # A little more than once: aria2c asks for more than it then takes, and what is on its way is charged.
    wait_until(lambda: SIZE <= charged() <= SIZE + SIZE // 2, "it is charged once")
    refused = seller.run("curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}", limited)
    assert refused == b"403"

    token = seller.ask("token", "list")[-1]["tokenId"]
    wait_until(lambda: len(seller.entries(token)) >= 4, "every request is logged")
    assert f"bytes={begun}-" in [entry.get("range") for entry in seller.entries(token)]
