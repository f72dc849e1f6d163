"""`token receipt` and `token signing-key`: shown, written, verified, and what is not valid."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import pytest

from gateway.cli import main
from gateway.config.settings import Settings
from gateway.database.migrating import open_database
from gateway.usage.known_tokens import FoundToken, read_tokens, record_tokens
from gateway.usage.repository import apply_events
from tests.support.store_server import StoreServer
from tests.support.usage import TOKEN, event


class Commands:
    """Runs commands in this process, which is quicker."""

    def __init__(self, options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
        self._options, self._capsys = options, capsys

    def run(self, *words: str | Path, code: int = 0) -> tuple[str, str]:
        self._capsys.readouterr()
        assert main([*map(str, words), *self._options]) == code
        output = self._capsys.readouterr()
        return output.out, output.err

    def json(self, *words: str | Path) -> Any:
        return json.loads(self.run(*words, "--json")[0])


@pytest.fixture
def commands(store: StoreServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Commands:
    """A token that the store has forgotten, and a download of it."""
    settings = Settings(data=tmp_path / "data", redis_url=store.url)

    async def fill() -> None:
        now = time.time_ns() // 1000
        values = ["drums", "1.0.0", "1", "2", "ann@example.com", "Ann", None, None, None]
        async with open_database(settings) as database, database.writing() as sql:
            await record_tokens(sql, [FoundToken(TOKEN, values, 1, 2)])
            known = await read_tokens(sql, [TOKEN])
            sent = event(0, started=now, ended=now + 1, client="203.0.113.7", agent="evil\x1b[31m")
            await apply_events(sql, [sent], known)

    asyncio.run(fill())
    return Commands(["--data", str(tmp_path / "data"), "--redis-url", store.url], capsys)


def test_a_receipt_is_shown_and_written_and_verified(commands: Commands, tmp_path: Path) -> None:
    out, _ = commands.run("token", "receipt", TOKEN)
    for part in (TOKEN, "expired", "ann@example.com", "drums.zip", "complete", "203.0.113.7"):
        assert part in out
    assert "\x1b" not in out
    answer = commands.json("token", "receipt", TOKEN)
    assert answer["receipt"]["files"][0]["complete"] is True
    file, jws = tmp_path / "receipt.json", tmp_path / "receipt.jws"
    file.write_text(json.dumps(answer))
    jws.write_text(answer["jws"] + "\n")
    keys = tmp_path / "jwks.json"
    keys.write_text(json.dumps(commands.json("token", "signing-key")))
    several: tuple[list[str | Path], ...] = ([file], [jws], [file, "--keys", keys])
    for words in several:
        out, err = commands.run("token", "receipt", "--verify", *words)
        assert "ann@example.com" in out
        assert "The signature is right" in err
    assert commands.json("token", "receipt", "--verify", jws) == answer["receipt"]


def test_a_replaced_key_verifies_old_receipts(commands: Commands, tmp_path: Path) -> None:
    file = tmp_path / "receipt.json"
    file.write_text(json.dumps(commands.json("token", "receipt", TOKEN)))
    [first] = commands.json("token", "signing-key")["keys"]
    second, replaced = commands.json("token", "signing-key", "--replace")["keys"]
    assert (replaced, second["kid"] != first["kid"]) == (first, True)
    assert "The signature is right" in commands.run("token", "receipt", "--verify", file)[1]
    assert "replaced" in commands.run("token", "signing-key")[0]


def test_what_is_not_valid_is_one_line(commands: Commands, tmp_path: Path) -> None:
    answer = commands.json("token", "receipt", TOKEN)
    keys = commands.json("token", "signing-key")
    changed = json.loads(json.dumps(answer))
    changed["receipt"]["customer"]["email"] = "bob@example.com"
    header, payload, signature = answer["jws"].split(".")
    files = {
        "changed": json.dumps(changed),
        "other": f"{header}.{payload[:-2]}AA.{signature}",
        "none": "{}",
        "words": "no receipt",
        "broken": "{",
        "keys": json.dumps(keys),
        "nokeys": "[]",
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    good = tmp_path / "good"
    good.write_text(answer["jws"])
    cases: tuple[tuple[list[str | Path], str], ...] = (
        (["--verify", tmp_path / "changed"], "`receipt` is not what was signed"),
        (["--verify", tmp_path / "other"], "something was changed"),
        (["--verify", tmp_path / "none"], "is no receipt"),
        (["--verify", tmp_path / "words"], "no compact JWS"),
        (["--verify", tmp_path / "broken"], "is no receipt"),
        (["--verify", tmp_path / "missing"], "cannot be read"),
        (["--verify", good, "--keys", tmp_path / "nokeys"], "no list `keys`"),
        (["--verify", good, "--keys", tmp_path / "words"], "has no keys"),
        ([TOKEN, "--verify", good], "give the ID of a token, or --verify"),
        ([], "give the ID of a token, or --verify"),
        ([TOKEN, "--keys", good], "--keys belongs to --verify"),
        (["f" * 32], "there is no such token"),
        (["ct_" + "a" * 43], "there is no such token"),
        (["nonsense"], "there is no such token"),
    )
    for words, part in cases:
        out, err = commands.run("token", "receipt", *words, code=1)
        assert (out, len(err.splitlines()), part in err) == ("", 1, True), (words, err)
