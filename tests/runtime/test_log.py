"""The log: each line is one JSON object, and none contains a secret."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from gateway.runtime import log
from gateway.secrets import new_key, new_token


@dataclass
class Level:
    log_level: str


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level, raising = root.handlers[:], root.level, logging.raiseExceptions
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.raiseExceptions = raising


def test_lines_are_json_with_the_fields_given(capsys: pytest.CaptureFixture[str]) -> None:
    log.configure(Level("info"))
    logging.getLogger("gateway.test").info("started %s", "it\nnow", extra={"child": "worker 0", "pid": 7})
    logging.getLogger("gateway.test").debug("too much")
    (line,) = capsys.readouterr().err.splitlines()
    fields = json.loads(line)
    assert fields.pop("time").endswith("Z")
    assert fields == {
        "level": "info",
        "logger": "gateway.test",
        "event": "started it\nnow",
        "child": "worker 0",
        "pid": 7,
    }


def test_secrets_are_cut_out_wherever_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    log.configure(Level("debug"))
    token, key = new_token(), new_key()
    try:
        raise ValueError(f"bad token {token}")
    except ValueError:
        logging.getLogger("any.library").exception("for %s", key, extra={"url": f"/download?token={token}"})
    text = capsys.readouterr().err
    assert token not in text
    assert key not in text
    assert text.count("[secret]") == 3
    assert "ValueError" in json.loads(text)["exception"]
