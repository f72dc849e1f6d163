"""The log: each line is one JSON object, and none contains a secret."""

from __future__ import annotations

import asyncio
import gc
import io
import json
import logging
import os
import ssl
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
    logging.getLogger("asyncio").filters.clear()


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


def test_an_event_without_a_record_has_the_line_of_one_with_it(capsys: pytest.CaptureFixture[str]) -> None:
    log.configure(Level("info"))
    logger = logging.getLogger("gateway.test.events")
    fields = {"by": "é", "what": {"token": "x", "key": new_key()}, "number": 7, "nothing": None}
    logger.info("change", extra=fields)
    log.log_event(logger, "change", fields)
    one, other = map(json.loads, capsys.readouterr().err.splitlines())
    assert len(one.pop("time")) == len(other.pop("time")) == len("2026-01-31T12:00:00.000Z")
    assert one == other
    assert other["what"]["key"] == "[secret]"


def test_an_event_below_the_level_is_not_written(capsys: pytest.CaptureFixture[str]) -> None:
    log.configure(Level("warning"))
    log.log_event(logging.getLogger("gateway.test.events"), "change", {})
    assert capsys.readouterr().err == ""


def test_an_event_reaches_others_who_listen(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    log.configure(Level("info"))
    logger = logging.getLogger("gateway.test.events")
    logger.addHandler(caplog.handler)
    try:
        log.log_event(logger, "change", {"by": "x"})
    finally:
        logger.removeHandler(caplog.handler)
    assert [vars(record)["by"] for record in caplog.records] == ["x"]
    assert json.loads(capsys.readouterr().err)["by"] == "x"


def test_an_event_for_a_closed_stream_is_dropped() -> None:
    log.configure(Level("info"))
    (handler,) = logging.getLogger().handlers
    assert isinstance(handler, log.LineHandler)
    with open(os.devnull, "w") as stream:
        handler.setStream(stream)
    log.log_event(logging.getLogger("gateway.test.events"), "change", {})


@pytest.mark.slow
@pytest.mark.parametrize(
    ("error", "is_logged"),
    [
        (ssl.SSLCertVerificationError(1, "self-signed"), False),
        (ConnectionResetError(), False),
        (ValueError("a defect"), True),
    ],
)
async def test_a_connection_that_failed_when_nobody_waited_any_more_is_no_error(
    capsys: pytest.CaptureFixture[str], error: Exception, is_logged: bool
) -> None:
    log.configure(Level("info"))
    lost = asyncio.get_running_loop().create_future()
    lost.set_exception(error)
    del lost
    gc.collect()
    assert ("never retrieved" in capsys.readouterr().err) is is_logged


@pytest.mark.slow
async def test_a_defect_of_a_task_is_logged(capsys: pytest.CaptureFixture[str]) -> None:
    log.configure(Level("info"))

    async def fail() -> None:
        raise ConnectionResetError

    task = asyncio.create_task(fail())
    await asyncio.sleep(0)
    del task
    gc.collect()
    assert "Task exception was never retrieved" in capsys.readouterr().err


async def test_events_of_one_turn_leave_in_writes_that_a_pipe_keeps_whole() -> None:
    log.configure(Level("info"))
    (handler,) = logging.getLogger().handlers
    writes: list[str] = []

    class Stream(io.StringIO):
        def write(self, text: str) -> int:
            writes.append(text)
            return len(text)

    assert isinstance(handler, log.LineHandler)
    handler.setStream(Stream())
    logger = logging.getLogger("gateway.test.events")
    for number in range(100):
        log.log_event(logger, "change", {"number": number, "text": "é" * 50})
    assert len(writes) < 10
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert all(len(text.encode()) <= 4096 and text.endswith("\n") for text in writes)
    lines = [json.loads(line) for text in writes for line in text.splitlines()]
    assert [line["number"] for line in lines] == list(range(100))


async def test_a_record_writes_the_events_before_it(capsys: pytest.CaptureFixture[str]) -> None:
    log.configure(Level("info"))
    logger = logging.getLogger("gateway.test.events")
    log.log_event(logger, "change", {})
    logger.info("something else")
    assert {json.loads(line)["event"] for line in capsys.readouterr().err.splitlines()} == {
        "change",
        "something else",
    }
