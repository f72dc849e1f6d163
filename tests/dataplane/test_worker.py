"""How a worker accepts connections: many that come at once are accepted in one turn of the loop."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct

import uvloop

from gateway.dataplane.worker import ACCEPTS_PER_TURN, duplicates
from tests.support.waiting import wait_until


class _Counting(asyncio.Protocol):
    made = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        _Counting.made += 1
        transport.close()


async def _turns(listener: socket.socket) -> int:
    """How many turns of the event loop pass until every connection that waits is made."""
    loop = asyncio.get_running_loop()
    servers = [await loop.create_server(_Counting, sock=each) for each in duplicates(listener)]
    turns = 0
    while _Counting.made < ACCEPTS_PER_TURN:
        await asyncio.sleep(0)
        turns += 1
    for server in servers:
        server.close()
    return turns


def waiting(listener: socket.socket) -> int:
    """How many connections wait to be accepted: `tcpi_unacked` of a listening socket (tcp_info of Linux)."""
    return int(struct.unpack_from("=I", listener.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 32), 24)[0])


def test_connections_that_wait_are_accepted_in_one_turn() -> None:
    """libuv alone would take as many turns as connections."""
    _Counting.made = 0
    with contextlib.ExitStack() as stack:
        listener = socket.create_server(("127.0.0.1", 0))
        for _ in range(ACCEPTS_PER_TURN):
            stack.enter_context(socket.create_connection(listener.getsockname()))
        wait_until(lambda: waiting(listener) == ACCEPTS_PER_TURN, "all of them wait to be accepted")
        listener.setblocking(False)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            turns = runner.run(_turns(listener))
    assert turns < ACCEPTS_PER_TURN // 2
