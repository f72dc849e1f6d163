"""What connection.py, aiohttp_connection.py and server.py rely on inside aiohttp."""

from __future__ import annotations

import ast
import asyncio
import inspect
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import aiohttp
import pytest
from aiohttp import http_parser, web
from aiohttp.base_protocol import BaseProtocol
from aiohttp.http import HttpProcessingError, HttpVersion10, HttpVersion11, RawRequestMessage
from aiohttp.streams import EMPTY_PAYLOAD
from aiohttp.web_protocol import RequestHandler

from gateway.dataplane import aiohttp_connection, connection, server
from gateway.dataplane.aiohttp_connection import AiohttpConnection, AlreadyAnswered
from tests.support.waiting import until

SOURCES = (aiohttp_connection, connection, server)
REQUEST = b"GET /a?b=c HTTP/1.1\r\nHost: x\r\n\r\n"

HANDLER = (
    "_parser",
    "_loop",
    "_messages",
    "_waiter",
    "_request_count",
    "_upgraded",
    "_payload_parser",
    "_message_tail",
    "_force_close",
    "_close",
    "_paused",
    "_buffer_paused",
    "_reading_paused",
    "_max_msg_queue_size",
    "_keepalive_handle",
)
METHODS = (
    "_pause_reading_for_buffer",
    "_drain_helper",
    "_process_keepalive",
    "handle_error",
    "log_exception",
)


class Transport(asyncio.Transport):
    """Takes bytes, and remembers the calls."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.calls: list[str] = []

    def write(self, data: Any) -> None:
        self.written += data

    def close(self) -> None:
        self.calls.append("close")

    def pause_reading(self) -> None:
        self.calls.append("pause")

    def resume_reading(self) -> None:
        self.calls.append("resume")

    def is_closing(self) -> bool:
        return False


async def connect(
    handler: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]], **options: Any
) -> RequestHandler:
    server = web.Server(handler, access_log=None, **options)
    connection = server()
    connection.connection_made(Transport())
    await asyncio.sleep(0)
    return connection


def transport_of(connection: RequestHandler) -> Transport:
    assert isinstance(connection.transport, Transport)
    return connection.transport


async def hello(request: web.BaseRequest) -> web.StreamResponse:
    return web.Response(text=request.path)


def test_the_version_is_the_one_tested() -> None:
    assert re.match(r"3\.14\.", aiohttp.__version__), "look at aiohttp_connection.py before raising the pin"


def test_the_c_parser_is_loaded() -> None:
    assert http_parser.HttpRequestParser.__module__ == "aiohttp._http_parser"
    assert http_parser.HttpRequestParser is http_parser.HttpRequestParserC


@pytest.mark.parametrize("module", SOURCES, ids=lambda module: module.__name__)
def test_every_internal_used_is_named_and_every_one_named_is_used(module: ModuleType) -> None:
    """The list in the module's docstring, against the private names in its source that are not its own."""
    tree = ast.parse(Path(str(module.__file__)).read_text())
    own = {
        node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    } | {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and node.attr.startswith("_")
    }
    inherited = {
        name
        for base in (RequestHandler, BaseProtocol, web.StreamResponse, web.BaseRequest)
        for name in (*vars(base), *getattr(base, "__slots__", ()))
    } | set(HANDLER)
    used = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and node.attr.startswith("_") and not node.attr.startswith("__")
    }
    foreign = {name for name in used if name not in own or name in inherited}
    listed = ast.get_docstring(tree) or ""
    listed = listed[listed.index("aiohttp internals relied on") :]
    named = set(re.findall(r"\b_[a-z_]+\b", listed))
    assert foreign - named == set()
    assert named - used - set(METHODS) == set()


async def test_the_handler_has_what_we_touch() -> None:
    connection = await connect(hello)
    for name in HANDLER:
        assert hasattr(connection, name), name
    for name in METHODS:
        assert callable(getattr(connection, name)), name
    assert connection._waiter is not None
    assert connection._max_msg_queue_size == 32
    assert connection._payload_parser is None
    connection.connection_lost(None)


async def test_feeding_the_parser_gives_messages() -> None:
    connection = await connect(hello)
    assert connection._parser is not None
    messages, upgraded, tail = connection._parser.feed_data(REQUEST)
    [(message, payload)] = messages
    assert isinstance(message, RawRequestMessage)
    assert (message.method, message.path, message.version) == ("GET", "/a?b=c", HttpVersion11)
    assert message.headers["host"] == "x"
    assert not message.should_close
    assert not message.upgrade
    assert payload is EMPTY_PAYLOAD
    assert (upgraded, tail) == (False, b"")
    connection._parser.message_consumed()
    assert len(connection._parser.feed_data(b"")[0]) == 0
    assert len(connection._parser.feed_data(REQUEST[:10])[0]) == 0
    assert len(connection._parser.feed_data(REQUEST[10:])[0]) == 1
    [(message, _)] = connection._parser.feed_data(b"GET / HTTP/1.0\r\n\r\n")[0]
    assert message.version == HttpVersion10
    assert message.should_close
    with pytest.raises(HttpProcessingError):
        connection._parser.feed_data(b"nonsense\r\n\r\n")
    connection.connection_lost(None)


async def test_the_parser_stops_at_its_queue_and_goes_on_when_asked() -> None:
    connection = await connect(hello)
    assert connection._parser is not None
    messages, _, _ = connection._parser.feed_data(REQUEST * 50)
    assert len(messages) == connection._max_msg_queue_size
    for _ in messages:
        connection._parser.message_consumed()
    assert len(connection._parser.feed_data(b"")[0]) == 50 - len(messages)
    connection.connection_lost(None)


async def test_messages_appended_by_hand_are_answered() -> None:
    """How requests are handed over to aiohttp's loop: append, count, set the waiter."""
    connection = await connect(hello)
    assert connection._parser is not None
    messages, _, _ = connection._parser.feed_data(REQUEST * 2)
    connection._request_count += 2
    connection._messages.extend(messages)
    assert connection._waiter is not None
    connection._waiter.set_result(None)
    transport = transport_of(connection)
    await until(lambda: transport.written.count(b"HTTP/1.1 200 OK") == 2)
    await until(lambda: connection._waiter is not None)
    assert not connection._waiter.done()
    connection.connection_lost(None)


async def test_a_response_may_say_that_all_was_sent() -> None:
    async def answered(request: web.BaseRequest) -> web.StreamResponse:
        assert request.protocol.transport is not None
        request.protocol.transport.write(b"ours")
        assert request._message.path == "/a?b=c"
        assert request._payload is EMPTY_PAYLOAD
        return AlreadyAnswered(keep=True)

    connection = await connect(answered)
    connection.data_received(REQUEST * 2)
    await asyncio.sleep(0.01)
    assert transport_of(connection).written == b"oursours"
    assert transport_of(connection).calls == []
    connection.connection_lost(None)


async def test_without_a_keepalive_timeout_there_is_one_timer_to_override() -> None:
    """`keepalive_timeout=0`: none when connected; after an answer it fires at once, and would close."""
    connection = await connect(hello, keepalive_timeout=0)
    assert connection._keepalive_handle is None
    connection.data_received(REQUEST)
    await asyncio.sleep(0.01)
    assert connection.transport is None
    assert AiohttpConnection._process_keepalive is not RequestHandler._process_keepalive


@pytest.mark.parametrize("forced", [True, False])
async def test_aiohttp_closes_unless_we_force_the_end(forced: bool) -> None:
    """After an answer that does not keep the connection aiohttp closes it; with `_force_close` set, we do."""

    async def last(request: web.BaseRequest) -> web.StreamResponse:
        request.protocol._force_close = forced
        return AlreadyAnswered(keep=False)

    connection = await connect(last)
    connection.data_received(REQUEST)
    await asyncio.sleep(0.01)
    assert transport_of(connection).calls == ([] if forced else ["close"])
    connection.connection_lost(None)


async def test_waiting_for_the_client_to_read() -> None:
    connection = await connect(hello)
    connection.pause_writing()
    assert connection._paused
    waiting = asyncio.ensure_future(connection._drain_helper())
    await asyncio.sleep(0)
    assert not waiting.done()
    connection.resume_writing()
    await waiting
    assert not connection._paused
    connection._pause_reading_for_buffer()
    assert connection._buffer_paused
    assert transport_of(connection).calls == ["pause"]
    connection.connection_lost(None)
    with pytest.raises(ConnectionError):
        await connection._drain_helper()


async def test_the_server_knows_its_connections() -> None:
    server = web.Server(hello, access_log=None, lingering_time=1)
    assert server._kwargs == {"access_log": None, "lingering_time": 1}
    assert server._loop is asyncio.get_running_loop()
    connection = server()
    transport = Transport()
    connection.connection_made(transport)
    assert server._connections == {connection: transport}
    connection.connection_lost(None)
    await asyncio.sleep(0.01)
    assert server._connections == {}


def test_signatures() -> None:
    assert list(inspect.signature(RequestHandler.handle_error).parameters) == [
        "self",
        "request",
        "status",
        "exc",
        "message",
    ]
    known = inspect.signature(RequestHandler.__init__).parameters
    assert {
        "keepalive_timeout",
        "lingering_time",
        "access_log",
        "max_line_size",
        "max_field_size",
        "max_headers",
        "auto_decompress",
    } <= set(known)
