"""The access log: its lines, its batches, and what it does when they cannot be written."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, cast
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict, CIMultiDictProxy

from gateway.dataplane.access_log import (
    ENCODINGS,
    LINES_A_TURN,
    READ_CHARACTERS,
    TEXT_CHARACTERS,
    AccessLog,
    format_line,
)
from gateway.dataplane.exchange import Exchange
from gateway.secrets import new_token
from tests.support.rows import each_row
from tests.support.waiting import until


def exchange(target: str = "/download/x", *lines: tuple[str, str], **facts: Any) -> Exchange:
    made = Exchange(cast(Any, None), "GET", target, CIMultiDictProxy(CIMultiDict(lines)), True, False)
    made.started, made.ended, made.status = 100.0, 100.25, 200
    for name, value in facts.items():
        setattr(made, name, value)
    return made


def test_a_line() -> None:
    done = exchange(
        "/download/Epic%20Drums.zip?token=ct_secretsecret",
        ("Range", "bytes=0-9"),
        ("User-Agent", 'curl/8 "x"'),
        token_id="0123",
        sent=10,
        whole=True,
        status=206,
    )
    line = format_line(done, "192.0.2.1", 1_700_000_000.5)
    assert line.endswith("}\n")
    assert json.loads(line) == {
        "time": "2023-11-14T22:13:20.500Z",
        "client": "192.0.2.1",
        "method": "GET",
        "path": "/download/Epic%20Drums.zip",
        "agent": 'curl/8 "x"',
        "status": 206,
        "sent": 10,
        "seconds": 0.25,
        "token": "0123",
        "whole": True,
        "range": "bytes=0-9",
    }


def test_a_refusal() -> None:
    line = json.loads(format_line(exchange(status=403, code="token_invalid"), "", 0))
    assert line["code"] == "token_invalid"
    assert "whole" not in line


@given(st.text(), st.text(), st.text())
def test_any_text_stays_in_its_line(path: str, agent: str, span: str) -> None:
    line = format_line(exchange("/" + path, ("User-Agent", agent), ("Range", span)), "", 0)
    assert line.count("\n") == 1
    assert line.isascii()
    read = json.loads(line)
    assert len(read["path"]) <= TEXT_CHARACTERS
    assert read["range"] == span[:TEXT_CHARACTERS] or "secret" in read["range"]


@given(st.text(max_size=300), st.text(max_size=20))
def test_a_token_is_cut_out_wherever_it_stands(before: str, after: str) -> None:
    token = new_token()
    line = format_line(exchange("/" + before.replace("?", "") + token + after), "", 0)
    assert token[3:] not in line


@pytest.mark.parametrize(
    ("path", "logged"),
    [
        ("/download/{}/Epic%20Drums.zip", "/download/[secret]/Epic%20Drums.zip"),
        ("/download/{}", "/download/[secret]"),
        ("/download/%22{}%22./a", "/download/[secret]/a"),
        ("/download/{head}%20{tail}/a", "/download/[secret]/a"),
        ("/download/{head}={tail}/a", "/download/[secret]/a"),
        ("/download/%63t{head_}%E2%80%8B{tail}/a", "/download/[secret]/a"),
        ("/auth/download/{head}%250A{tail}/a", "/auth/download/[secret]/a"),
        ("/x/{}/y/{}", "/x/[secret]/y/[secret]"),
        ("/download/a-name-of-more-than-46-characters-that-is-no-token.zip",) * 2,
    ],
)
def test_a_token_in_the_path_is_cut_out_whatever_is_glued_to_it(path: str, logged: str) -> None:
    token = new_token()
    path = path.replace("{}", token).replace("{head}", token[:5]).replace("{head_}", token[2:5])
    line = json.loads(format_line(exchange(path.replace("{tail}", token[5:])), "", 0))
    assert line["path"] == logged


def encoded(text: str, times: int, *, whole: bool) -> str:
    """Percent-encode a text repeatedly. whole: also the digits and percent signs of the time before."""
    for time in range(times):
        everything = whole or not time
        text = "".join(f"%{ord(each):02x}" if everything or each == "%" else each for each in text)
    return text


@each_row(("times", "whole"), [(1, True), (2, True), (2, False), (ENCODINGS, False)])
@each_row("before", ["", "/download/", "x" * 200, "%", "%25" * 30])
def test_a_token_is_cut_out_however_often_it_is_encoded(before: str, times: int, whole: bool) -> None:
    token = new_token()
    line = format_line(exchange(before + encoded(token, times, whole=whole)), "", 0)
    shown = json.loads(line)["path"]
    for _ in range(ENCODINGS):
        assert token[3:20] not in shown
        shown = unquote(shown)


@each_row("left", range(0, 60, 3))
def test_no_part_of_a_token_is_left_where_a_text_is_cut(left: int) -> None:
    """Tokens become short in the log, so that a text's end may be shown although the text is long."""
    tokens = "".join("x" + new_token() for _ in range(40))
    path = "/" + tokens[: READ_CHARACTERS + left]
    for target in (path, "/%78" + path):
        shown = json.loads(format_line(exchange(target), "", 0))["path"]
        assert not any(path[at : at + 12] in shown for at in range(1, len(path) - 12))


async def test_a_turn_ends_when_its_time_is_over(tmp_path: Path) -> None:
    log = AccessLog(str(tmp_path / "access.log"), lambda _: "")
    for number in range(LINES_A_TURN):
        log.add(exchange(f"/{number}"))
    log._make_lines(LINES_A_TURN, 0.0)
    assert len(log._lines) == 1  # there is always progress
    log._make_lines(LINES_A_TURN, 60.0)
    assert len(log._lines) == LINES_A_TURN
    log.stop()


async def test_everything_is_written_in_order(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    log = AccessLog(str(path), lambda _: "client")
    log.start()
    for number in range(300):
        log.add(exchange(f"/{number}"))
    await until(lambda: path.read_text().count("\n") == 300)
    for number in range(300, 310):
        log.add(exchange(f"/{number}"))
    log.stop()  # the rest at once
    paths = [json.loads(line)["path"] for line in path.read_text().splitlines()]
    assert paths == [f"/{number}" for number in range(310)]


async def test_a_full_disk_is_counted_and_stops_no_request() -> None:
    log = AccessLog("/dev/full", lambda _: "")
    log.start()
    log.add(exchange())
    await until(lambda: log._dropped > 0)
    log.stop()


async def test_a_reader_that_went_away(capfd: pytest.CaptureFixture[str]) -> None:
    reading, writing = os.pipe()
    log = AccessLog(f"/proc/self/fd/{writing}", lambda _: "")
    os.close(reading)
    os.close(writing)
    log.start()
    log.add(exchange())
    await until(lambda: log._dropped > 0)
    log.stop()
    assert capfd.readouterr().err == ""
