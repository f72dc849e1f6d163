"""What runs in this worker, told to the dashboard when it asks (gateway/usage/running.py).

Nothing is kept for it. The question comes by the channel of all workers, and names a stream of the store that
lives for some seconds. The answer is one entry of it: the newest transfers, at most MOST, and how many run.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from itertools import islice
from time import monotonic
from typing import Any, Final, cast

from gateway.dataplane.exchange import Exchange
from gateway.store.commands import Command, pack
from gateway.store.key_names import running_list_key
from gateway.store.topology import Topology
from gateway.tokens.transfers import Transfers

MOST: Final = 50
"""Transfers of one worker that are told: a person looks at no more, and it takes less than a millisecond."""
MAX_NAME: Final = 300
"""Characters of a file's name."""
_QUESTION: Final = re.compile(r"[0-9a-f]{16}")


class RunningList:
    """One worker's. client: finds the address of an exchange's client."""

    def __init__(self, transfers: Transfers, topology: Topology, client: Callable[[Exchange], str]) -> None:
        self._transfers = transfers
        self._topology = topology
        self._client = client

    def answer(self, question: str) -> None:
        """Write what runs here into the stream of a question. What is no question is not answered."""
        if not _QUESTION.fullmatch(question) or not self._topology.is_any_ready:
            return
        running = self._transfers.running
        rows = [
            self._row(cast("Exchange", exchange), delivery.sent)
            for delivery, exchange in islice(reversed(running.items()), MOST)
        ]
        text = json.dumps({"count": len(running), "rows": [row for row in rows if row]})
        key = running_list_key(question)
        self._topology.post(Command(), pack((b"XADD", key, b"NOMKSTREAM", b"*", b"j", text)), question)

    def _row(self, exchange: Exchange, sent: int) -> list[Any]:
        served = exchange.served
        if served is None:
            return []
        return [
            exchange.token_id,
            served.product,
            served.version,
            served.file.name[:MAX_NAME],
            served.file.size,
            sent,
            round(monotonic() - exchange.started, 3),
            self._client(exchange),
        ]
