"""The Lua scripts as they are loaded: includes, comments, and that a real server accepts each of them."""

from __future__ import annotations

from importlib.resources import files

import redis

from gateway.store import scripts
from gateway.store.scripts import Script
from tests.support.rows import each_row
from tests.support.store_server import StoreServer

NAMES = sorted(
    file.name.removesuffix(".lua") for file in files(scripts).iterdir() if file.name.endswith(".lua")
)


def test_the_shared_files_are_there() -> None:
    assert {"clock", "sweep", "claim", "read_and_claim", "checkpoint", "settle"} <= set(NAMES)


@each_row("name", NAMES)
def test_a_server_compiles_every_script_under_the_hash_that_we_compute(store: StoreServer, name: str) -> None:
    script = Script.load(name)
    with redis.Redis.from_url(store.url, decode_responses=True) as client:
        assert client.script_load(script.text) == script.sha


@each_row("name", NAMES)
def test_includes_are_expanded_and_comments_are_not_sent(name: str) -> None:
    lines = [line.strip() for line in Script.load(name).text.splitlines()]
    assert lines
    assert not [line for line in lines if not line or line.startswith("--")]


def test_only_one_file_reads_the_clock() -> None:
    texts = {name: files(scripts).joinpath(f"{name}.lua").read_text() for name in NAMES}
    assert [name for name, text in texts.items() if "'TIME'" in text] == ["clock"]
    assert "redis.call('TIME')" in Script.load("claim").text  # by sweep.lua, which includes clock.lua


def test_the_clock_gives_milliseconds(store: StoreServer) -> None:
    text = Script.load("clock").text + "return {clock[1], clock[2], string.format('%.0f', now)}"
    with redis.Redis.from_url(store.url, decode_responses=True) as client:
        seconds, microseconds, now = client.eval(text, 0)
    assert int(now) == int(seconds) * 1000 + int(microseconds) // 1000
