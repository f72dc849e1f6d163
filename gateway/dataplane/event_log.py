"""Makes events of usage (usage/events.py) from exchanges that have ended, many at once, beside the hot path.

While a request is answered, its exchange is given what an event needs: `served`, the file, and `spans` where
not all of the file was asked for. Both are references to what is there anyway. When it has ended and has sent
bytes of a file, it is added to a list, and that is all. Five times a second the list is made into batches,
column by column, a few hundred exchanges in one turn of the event loop.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Final

from aiohttp.hdrs import USER_AGENT

from gateway.dataplane.exchange import NO_HEADERS, Exchange
from gateway.http.client_address import usual_form
from gateway.http.plans import Representation
from gateway.secrets import redact
from gateway.usage.events import encode_batch, number_texts

FLUSH_SECONDS: Final = 0.2
EVENTS_A_TURN: Final = 500
"""How many events are made in one turn of the event loop, at most: about 0.3 ms."""
TEXT_CHARACTERS: Final = 256
"""What is kept of a User-Agent."""
MICROSECONDS: Final = 1_000_000


class EventLog:
    """Collects exchanges. worker: the name in its events. put: takes a count of events, and their batch.

    client: returns the address of an exchange's client. `add` collects one that has ended and has sent bytes.
    """

    def __init__(
        self, worker: str, put: Callable[[int, bytes], None], client: Callable[[Exchange], str]
    ) -> None:
        self._worker = worker
        self._put = put
        self._client = client
        self._entries: list[Exchange] = []
        self._made = 0
        self._handle: asyncio.Handle | None = None
        self.add = self._entries.append

    def start(self) -> None:
        """Begin to make batches, on the running event loop."""
        self._handle = asyncio.get_running_loop().call_later(FLUSH_SECONDS, self._make_some)

    def stop(self) -> None:
        """Make what is left."""
        if self._handle is not None:
            self._handle.cancel()
        while self._take():
            pass

    def _make_some(self) -> None:
        """Make a batch; another one in the next turn only if it will be a full one.

        What ends meanwhile waits for the next time: otherwise a busy worker would make a small batch, and
        send a command, in every turn.
        """
        self._take()
        if len(self._entries) >= EVENTS_A_TURN:
            self._handle = asyncio.get_running_loop().call_soon(self._make_some)
        else:
            self.start()

    def _take(self) -> bool:
        """Make one batch. Returns whether there was something to make."""
        entries = self._entries
        if not entries:
            return False
        some = entries[:EVENTS_A_TURN]
        del entries[:EVENTS_A_TURN]
        self._put(len(some), self._encode(some))
        self._made += len(some)
        return True

    def _encode(self, some: Sequence[Exchange]) -> bytes:
        """Make the batch of some exchanges."""
        started = [exchange.started for exchange in some]
        base = min(started)
        client = self._client
        files, file_numbers = number_texts([exchange.served for exchange in some])
        clients, client_numbers = number_texts(
            [
                # the address of a peer that names no other client is made once for each peer, below
                exchange.connection.peer[0]
                if exchange.headers is NO_HEADERS
                and not exchange.forwarded
                and type(exchange.connection.peer) is tuple
                else client(exchange)
                for exchange in some
            ]
        )
        agents, agent_numbers = number_texts(
            [exchange.agent if exchange.headers is NO_HEADERS else _agent(exchange) for exchange in some]
        )
        head = {
            "worker": self._worker,
            "first": self._made,
            "count": len(some),
            "base": int((time.time() - time.monotonic() + base) * MICROSECONDS),
            "method": "GET",  # no other sends bytes of a file
            "files": [_describe(file) for file in files],
            "clients": [*map(usual_form, clients)],
            "agents": [_clean(agent) for agent in agents],
        }
        spans = {place: exchange.spans for place, exchange in enumerate(some) if exchange.spans is not None}
        if spans:
            head["spans"] = spans
        columns = (
            file_numbers,
            client_numbers,
            agent_numbers,
            [exchange.sent for exchange in some],
            [moment - base for moment in started],
            [(exchange.handed_over or exchange.ended) - exchange.started for exchange in some],
        )
        return encode_batch(head, [exchange.token_id for exchange in some], columns)


def _agent(exchange: Exchange) -> str:
    return exchange.agent or exchange.headers.get(USER_AGENT, "")


def _describe(served: Representation) -> list[str | int]:
    file = served.file
    return [served.product, served.version, file.name, file.size, file.sha256]


def _clean(agent: str) -> str:
    """A text of the request as it may be kept: cut, without secrets, and one that every database takes."""
    text = redact(agent[: 4 * TEXT_CHARACTERS])[:TEXT_CHARACTERS]
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace").replace("\0", "")
