"""A link for one download survives what real downloaders do: a probe, Ctrl-C in the middle, a resume."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from tests.support.journey import ABORTED_AFTER, RATE, SIZE, Shop, content

PROBES = ("0-0", "0-1", "0-32767")

ARIA2C = "aria2c -q -c --file-allocation=none -o FILE URL"
CLIENTS = {
    "curl": ("curl -sSf --limit-rate RATE -o FILE URL", "curl -sSf -C - -o FILE URL"),
    "wget": ("wget -q --limit-rate RATE -O FILE URL", "wget -q -c -O FILE URL"),
    "aria2c-1": (f"{ARIA2C} -x1 -s1 --max-download-limit RATE", f"{ARIA2C} -x1 -s1"),
    # On loopback, sixteen receive buffers of usual size hold the whole file, which then was received.
    "aria2c-16": (
        f"{ARIA2C} -x16 -s16 -k1M --max-download-limit RATE --socket-recv-buffer-size=65536",
        f"{ARIA2C} -x16 -s16 -k1M",
    ),
    "wget2": (None, "wget2 -q --progress=none -O FILE URL"),
    "axel": (None, "axel -q -n8 -o FILE URL"),
}
"""The command that is ended in the middle, where one is slow enough, and the one that goes on."""
LATE_RATE = "4M"
"""Where a quarter is left, which takes four seconds more."""
CASES = [
    (name, after)
    for name, (begin, _) in CLIENTS.items()
    for after in (ABORTED_AFTER, SIZE // 4 * 3)
    if after == ABORTED_AFTER or (begin is not None and name != "aria2c-16")
]
"""When they are stopped. Sixteen connections have received the end of the file long before three quarters of
it are on the disk: then nothing is left that aria2c, which asks for the whole file first, could be given."""


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    folder = tmp_path_factory.mktemp("shop")
    (folder / "kit.bin").write_bytes(content())
    shop = Shop(folder)
    shop.start("kit.bin")
    yield shop
    shop.stop(signal.SIGKILL)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "after"), CASES)
def test_one_download_survives_a_probe_an_abort_and_a_resume(shop: Shop, name: str, after: int) -> None:
    """aria2c asks for the whole file to resume: late, that is more than is left of the allowance."""
    begin, resume = CLIENTS[name]
    url = shop.link("kit.bin", "--max-downloads", "1")
    part = shop.customer / f"{name}-{after}.bin"

    def command(line: str) -> list[str]:
        words = {"FILE": part.name, "URL": url, "RATE": RATE if after == ABORTED_AFTER else LATE_RATE}
        return [words.get(word, word) for word in line.split()]

    for probe in PROBES:
        shop.run("curl", "-sSf", "-r", probe, "-o", "probe", url)
    if begin is not None:
        shop.abort(part, *command(begin), after=after, by=signal.SIGINT)
    shop.run(*command(resume))
    assert shop.got(part.name)
