"""How exchanges end: each failure becomes its answer or a broken connection, in one place."""

from __future__ import annotations

import ast
import logging
from pathlib import Path
from typing import Any

import pytest

import gateway.dataplane
from gateway.dataplane.ending import Endings
from gateway.dataplane.exchange import ClientGone, Exchange
from gateway.errors import (
    LIMIT_REACHED,
    GatewayError,
    Refused,
    StorageError,
    StorageUnreachable,
    StoreUnavailable,
)
from gateway.http.forward_auth import CADDY, NGINX
from gateway.runtime.deferred import step
from gateway.runtime.metrics import FAULTS, STORAGE_ERRORS, STORE_ERRORS, Counters
from gateway.store.commands import NotExecuted
from tests.support.channel import FakeChannel

HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n"

# what the work raises, the status and the code of the answer, and the metric that counts it
FAILURES = [
    (Refused(LIMIT_REACHED), 403, "limit_reached", None),
    (StoreUnavailable("away"), 503, "store_unavailable", STORE_ERRORS),
    (NotExecuted("not connected"), 503, "store_unavailable", STORE_ERRORS),
    (StorageError("is missing"), 502, "storage_failed", STORAGE_ERRORS),
    (StorageUnreachable("does not answer"), 502, "storage_failed", STORAGE_ERRORS),
]
DEFECTS = [RuntimeError("defect"), KeyError("defect"), GatewayError("not one of those")]


class Ended:
    """One exchange, after work that raised an error; in a coroutine, or without one."""

    def __init__(
        self, error: Exception | None, *, begun: bool = False, way: str = "run", **facts: Any
    ) -> None:
        self.channel = FakeChannel()
        self.exchange = Exchange(self.channel)
        for name, value in facts.items():
            setattr(self.exchange, name, value)
        self.counters = Counters()
        endings = Endings(self.counters)
        if begun:
            self.channel.wire.write(self.exchange.begin(200, HEAD))

        async def work(exchange: Exchange) -> None:
            assert exchange is self.exchange
            if error is not None:
                raise error

        if way == "run":
            step(endings.run(self.exchange, work))
        else:
            endings.end(self.exchange, error)
        assert self.channel.ended == [self.exchange]
        assert self.exchange.ended >= self.exchange.started

    def counted(self) -> list[int]:
        values = self.counters.values()
        return [index for index in (STORE_ERRORS, STORAGE_ERRORS, FAULTS) if values[index]]


WAYS = pytest.mark.parametrize("way", ["run", "end"])


@WAYS
def test_work_that_is_done_needs_nothing_more(way: str) -> None:
    ended = Ended(None, way=way)
    assert (ended.channel.status, ended.channel.was_reset, ended.counted()) == (None, False, [])


@WAYS
@pytest.mark.parametrize(("error", "status", "code", "metric"), FAILURES)
def test_a_failure_before_the_head_is_answered(
    error: Exception, status: int, code: str, metric: int | None, way: str
) -> None:
    ended = Ended(error, way=way)
    assert (ended.channel.status, ended.exchange.code, ended.exchange.status) == (status, code, status)
    assert not ended.channel.was_reset
    assert ended.exchange.keep_alive
    assert ended.counted() == [metric for metric in (metric,) if metric is not None]


@WAYS
@pytest.mark.parametrize(("error", "status", "code", "metric"), FAILURES)
def test_a_failure_after_the_head_breaks_the_connection(
    error: Exception, status: int, code: str, metric: int | None, way: str
) -> None:
    ended = Ended(error, begun=True, way=way)
    assert ended.channel.was_reset
    assert (ended.channel.status, ended.exchange.code, ended.exchange.keep_alive) == (200, "", False)
    assert ended.counted() == [metric for metric in (metric,) if metric is not None]


@WAYS
@pytest.mark.parametrize("begun", [False, True])
@pytest.mark.parametrize("error", DEFECTS)
def test_a_defect_breaks_the_connection_and_is_logged(
    error: Exception, begun: bool, way: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR, "gateway"):
        ended = Ended(error, begun=begun, way=way)
    assert ended.channel.was_reset
    assert ended.counted() == [FAULTS]
    [record] = caplog.records
    assert type(error).__name__ in record.getMessage()
    assert record.exc_info


@WAYS
def test_a_client_that_left_is_no_fault(way: str, caplog: pytest.LogCaptureFixture) -> None:
    ended = Ended(ClientGone(), way=way)
    assert (ended.channel.status, ended.channel.was_reset, ended.counted()) == (None, False, [])
    assert not caplog.records


@WAYS
def test_a_refusal_that_reaches_nobody_is_no_fault(way: str) -> None:
    channel = FakeChannel()
    channel.transport = None
    counters = Counters()
    exchange = Exchange(channel)

    async def work(_: Exchange) -> None:
        raise Refused(LIMIT_REACHED)

    if way == "run":
        step(Endings(counters).run(exchange, work))
    else:
        Endings(counters).end(exchange, Refused(LIMIT_REACHED))
    assert channel.ended == [exchange]
    assert not counters.values()[FAULTS]


@pytest.mark.parametrize("error", [failure[0] for failure in FAILURES])
def test_a_front_proxy_receives_the_true_status_in_fields(error: Exception) -> None:
    proxied, direct = Ended(error, dialect=NGINX), Ended(error, dialect=CADDY)
    true = f"X-Gateway-Status: {direct.exchange.status}\r\n".encode()
    code = f"X-Gateway-Code: {direct.exchange.code}\r\n".encode()
    for ended in (proxied, direct):
        assert true in ended.channel.wire.written
        assert code in ended.channel.wire.written
    assert proxied.channel.status == 403
    assert direct.channel.status == direct.exchange.status


def test_work_may_be_refused_before_it_has_a_coroutine() -> None:
    channel = FakeChannel()
    exchange = Exchange(channel)

    def choose(_: Exchange, refusal: Any) -> Any:
        raise Refused(refusal)

    step(Endings(Counters()).run(exchange, choose, LIMIT_REACHED))
    assert (channel.status, channel.ended) == (403, [exchange])


@pytest.mark.slow
def test_no_other_module_ends_an_exchange() -> None:
    """`Exchange.end` is called in ending.py, and `Channel.finish` in `Exchange.end`."""
    room = Path(gateway.dataplane.__file__).parent
    callers = {
        (file.name, node.func.attr)
        for file in room.rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and (
            (node.func.attr == "end" and ast.unparse(node.func.value).endswith("exchange"))
            or (node.func.attr == "finish" and ast.unparse(node.func.value).endswith("connection"))
        )
    }
    assert callers == {("ending.py", "end"), ("exchange.py", "finish")}
