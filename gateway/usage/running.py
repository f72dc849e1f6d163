"""What runs in all workers at this moment: they are asked, and answer within a fraction of a second.

Nothing is written for this while nobody looks. A worker that does not answer in time is left out: it is not
running, or has more important things to do.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from typing import Final, NamedTuple

from gateway.store.client import StoreClient
from gateway.store.key_names import running_list_key
from gateway.tokens.takeovers import EVERY_WORKER

WAIT_SECONDS: Final = 0.25
"""For the answers: a worker that is not overloaded takes some milliseconds."""
LIVES_MS: Final = 10_000
MOST_SHOWN: Final = 100


class Running(NamedTuple):
    """A transfer. size: of the file, in bytes. sent: of this request. seconds: since it began."""

    token: str
    product: str
    version: str
    file: str
    size: int
    sent: int
    seconds: float
    client: str

    @property
    def rate(self) -> int:
        """Bytes a second, since it began."""
        return int(self.sent / self.seconds) if self.seconds > 0 else 0


class RunningNow(NamedTuple):
    """total: how many transfers run. shown: the newest of them. workers: how many have answered."""

    total: int
    shown: list[Running]
    workers: int


async def ask_what_runs(client: StoreClient) -> RunningNow:
    """Ask all workers. Raises StoreUnavailable."""
    question = secrets.token_hex(8)
    key = running_list_key(question)
    await client.call("XADD", key, "*", "q", "1")
    await client.call("PEXPIREAT", key, await client.now() + LIVES_MS)
    asked = sum(map(int, await client.call_every("PUBLISH", EVERY_WORKER, f"running {question}")))
    if asked:
        await asyncio.sleep(WAIT_SECONDS)
    answers = [dict(fields) for _, fields in await client.call("XRANGE", key, "-", "+")]
    found = [json.loads(fields["j"]) for fields in answers if "j" in fields]
    rows = [Running(*row) for answer in found for row in answer["rows"]]
    rows.sort(key=lambda each: each.seconds)
    return RunningNow(sum(answer["count"] for answer in found), rows[:MOST_SHOWN], len(found))
