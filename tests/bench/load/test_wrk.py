"""Reading the output of wrk."""

from pathlib import Path

import pytest

from bench.errors import BenchError, WrongResponse
from bench.load.wrk import WrkResult, parse_wrk, write_requests, wrk_command
from bench.scenarios.requests import check_result

PROSE = """Running 1s test @ http://127.0.0.1:18080
  1 threads and 32 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     1.10ms  300.00us   9.00ms   90.00%
    Req/Sec    27.40k     1.10k   29.00k    80.00%
  27430 requests in 1.00s, 38.20MB read
Requests/sec:  27430.11
Transfer/sec:     38.20MB
"""
LINE = (
    '{"requests": 27430, "bytes": 40055603, "microseconds": 1000004, "p50": 1050, "p90": 1500, "p99": 2640, '
    '"p999": 4210, "max": 9000, "connect": 0, "read": 0, "write": 0, "timeout": 0, "status": 0}\n'
)


def test_the_line_of_the_script_is_found_between_wrks_prose() -> None:
    load = parse_wrk(f"{PROSE}\n{LINE}")
    assert load.requests == 27430
    assert load.bytes == 40055603
    assert load.seconds == pytest.approx(1.000004)
    assert load.latencies_ms == {
        "p50_ms": 1.05,
        "p90_ms": 1.5,
        "p99_ms": 2.64,
        "p999_ms": 4.21,
        "max_ms": 9.0,
    }
    assert load.refused == 0
    assert load.broken == {}


def test_faults_are_counted_by_name() -> None:
    load = parse_wrk(LINE.replace('"read": 0', '"read": 3').replace('"status": 0', '"status": 7'))
    assert load.broken == {"read": 3}
    assert load.refused == 7


@pytest.mark.parametrize(
    "output",
    [
        "",
        PROSE,
        "unable to connect to 127.0.0.1:1 Connection refused\n",
        '{"requests": 12\n',
        '{"requests": 12}\n',
        '{"requests": null, "bytes": "x"}\n',
    ],
)
def test_no_result_is_an_error_that_quotes_wrk(output: str) -> None:
    with pytest.raises(BenchError, match="wrk gave no result"):
        parse_wrk(output)


def test_requests_are_kept_apart_by_what_no_request_holds(tmp_path: Path) -> None:
    path = tmp_path / "requests"
    write_requests(path, [b"GET /a HTTP/1.1\r\n\r\n", b"GET /b HTTP/1.1\r\n\r\n"])
    assert path.read_bytes().split(b"\0") == [b"GET /a HTTP/1.1\r\n\r\n", b"GET /b HTTP/1.1\r\n\r\n"]
    command = wrk_command("wrk", "http://127.0.0.1:1", path, connections=32, seconds=1.4)
    assert {"-c32", "-d1s", str(path)} <= set(command)


def _result(**values: int) -> WrkResult:
    line = LINE
    for name, value in values.items():
        before = line.index(f'"{name}": ') + len(name) + 4
        line = (
            line[:before]
            + str(value)
            + line[min(x for x in (line.find(",", before), line.find("}", before)) if x > 0) :]
        )
    return parse_wrk(line)


def test_right_responses_pass_the_check() -> None:
    check_result("it", _result(), 200, 1024)
    check_result("it", _result(status=27430), 403, 0)


@pytest.mark.parametrize(
    ("values", "status", "body", "match"),
    [
        ({"requests": 0}, 200, 0, "nothing"),
        ({"timeout": 1}, 200, 0, "broke"),
        ({"status": 1}, 200, 0, "refusals"),
        ({"status": 27429}, 403, 0, "refusals"),
        ({"bytes": 1000}, 200, 1024, "too few"),
    ],
)
def test_a_broken_server_cannot_win(values: dict[str, int], status: int, body: int, match: str) -> None:
    with pytest.raises(WrongResponse, match=match):
        check_result("it", _result(**values), status, body)
