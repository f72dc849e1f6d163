"""What happens when the allowance of a token is reserved by its own other transfers: the newest request wins.

A customer whose connection broke without our noticing begins again, a download manager asks for the second
half while its first connection has reserved the whole: nobody misuses anything, and yet their own reservation
refuses them. So before such a request is refused, the transfers of the same file by the same token give up
bytes that they have not sent. Those whose client has gone end. Beyond that:

1. For a range, the transfers that would still send a byte of it are cut where it begins. What they have sent
   already still arrives, and then their connections close. If that is not enough, transfers give up their
   last bytes, as many as the range needs. If that is not enough either, those that have sent bytes of the
   range are broken off, which returns what their kernels hold: one is probably the dead connection.
2. For the whole file, only the transfers whose client has taken nothing for STALLED_SECONDS are broken off.
   While another transfer runs, the request is refused with a text that says so.

Other workers may have such transfers, on other machines, too. They are asked by a message (store/channel.py),
and each answers when the store has what it returned. A worker that does not answer within ANSWER_SECONDS is
not waited for: its bytes come back when its lease runs out. Whatever happens, the store alone decides whether
the request gets its bytes, by one more claim. So no race and no lost message lets anything be sent twice.

Asking costs work in every worker. So one worker has at most MAX_ASKS questions under way, and after a request
was refused in spite of a question, further ones of the same kind for the same file do not ask for
FRUITLESS_SECONDS.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
import itertools
import logging
import secrets
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from gateway.errors import LIMIT_REACHED, Refusal, Refused, StoreUnavailable
from gateway.http.ranges import Span
from gateway.store.channel import Channel
from gateway.store.commands import NotExecuted
from gateway.store.key_names import token_key
from gateway.store.scripts import TRIM
from gateway.store.topology import Topology
from gateway.tokens.deliveries import Watched
from gateway.tokens.leases import Lease, Leases

_log = logging.getLogger("gateway")

STALLED_SECONDS: Final = 5.0
"""A client that takes nothing for so long has probably gone."""
ANSWER_SECONDS: Final = 1.0
"""How long to wait for the other workers. A frozen one does not answer at all."""
MAX_ASKS: Final = 64
"""How many questions of one worker may be under way: each is work for every worker."""
FRUITLESS_SECONDS: Final = 1.0
"""How long requests for a file, or for ranges of it, ask no question after one that did not help."""
FRUITLESS_KEPT: Final = 1024
"""For how many files that is remembered, the newest ones."""
MAX_SPANS: Final = 256
"""A question names at most so many spans; further ones count as the last."""
PLACES: Final = -1
"""In place of a file's number: a question for places of the token (places.py)."""
EVERY_WORKER: Final = "dg:workers"
"""The channel that all workers listen to."""

DOWNLOADED_ALREADY: Final = replace(
    LIMIT_REACHED,
    title="This file is being downloaded already",
    detail="The rest of this link's allowance is reserved for a download that is running. Let it finish, or "
    "cancel it and try again a few seconds later.",
)
"""The refusal of a whole file while another transfer of it runs."""


class Demand(enum.Enum):
    """What transfers have to give up."""

    FROM_RANGE = "range"  # they are cut where the range begins
    BY_FORCE = "force"  # they give up their last bytes, and if need be those that have passed this point end
    STALLED = "stalled"  # only those whose client takes nothing end


@dataclass(frozen=True, slots=True)
class Question:
    """Asks for unsent bytes of file number `file` of a token. spans: what the request wants to send."""

    identifier: str
    file: int
    demand: Demand
    spans: tuple[Span, ...]

    @property
    def subject(self) -> tuple[str, int, bool]:
        """What a question that did not help was about: the file, and whether all of it was asked for."""
        return self.identifier, self.file, self.demand is Demand.STALLED

    @property
    def amount(self) -> int:
        """Bytes that the request wants to send."""
        return sum(stop - start for start, stop in self.spans)

    def encode(self) -> str:
        """The question as words: the token's id, the file's number, the demand, and a word for each span."""
        spans = (f"{start}-{stop}" for start, stop in self.spans)
        return " ".join((self.identifier, str(self.file), self.demand.value, *spans))

    @classmethod
    def decode(cls, words: Sequence[str]) -> Question:
        """Read the words of `encode`. Raises ValueError."""
        try:
            identifier, file, demand, *words = words
            bounds = [(int(start), int(stop)) for start, _, stop in (word.partition("-") for word in words)]
            return cls(identifier, int(file), Demand(demand), tuple(Span(*each) for each in bounds))
        except ValueError:
            raise ValueError("these words are no question of a worker") from None


def has_sent(sending: Sequence[Span], sent: int, wanted: Sequence[Span]) -> bool:
    """Whether a wanted byte is among the first `sent` bytes of what a transfer sends."""
    for start, stop in sending:
        reached = min(stop, start + sent)
        if any(max(start, begin) < min(reached, end) for begin, end in wanted):
            return True
        sent -= reached - start
    return False


def bytes_before(sending: Sequence[Span], sent: int, wanted: Sequence[Span]) -> int | None:
    """Of what a transfer sends, how many bytes come before the first one that is wanted and not sent yet.

    sending: the transfer's spans, in order; `sent` bytes of them are sent. Returns None when it will send no
    wanted byte.
    """
    before = 0
    for start, stop in sending:
        first = max(start, start + sent - before)
        begins = [max(first, begin) for begin, end in wanted if max(first, begin) < min(stop, end)]
        if begins:
            return before + min(begins) - start
        before += stop - start
    return None


class Takeovers:
    """Gets bytes for requests from other transfers of their tokens. One worker has one."""

    def __init__(self, topology: Topology, leases: Leases, urls: Sequence[str] = ()) -> None:
        """urls: of the topology's servers, by which other workers are asked; without them none is."""
        self.places_of: Callable[[str], Sequence[Watched]] = lambda _: ()
        """Finds the places that transfers of a token hold here (places.py)."""
        self.on_revoked: Callable[[str], None] = lambda _: None
        """Called with the id of a token that was revoked just now."""
        self.on_asked: Callable[[str], None] = lambda _: None
        """Called with the id of a question for what runs here (dataplane/running_list.py)."""
        self._topology = topology
        self._leases = leases
        self._name = f"dg:worker:{secrets.token_hex(8)}"
        self._numbers = itertools.count(1)
        self._answers: dict[str, asyncio.Queue[int]] = {}
        self._fruitless: OrderedDict[tuple[str, int, bool], tuple[float, Refusal]] = OrderedDict()
        self._tasks: set[asyncio.Task[None]] = set()
        self._channels = {
            id(pipeline): Channel(url, pipeline, (EVERY_WORKER, self._name), self._receive)
            for url, pipeline in zip(urls, topology.pipelines, strict=False)
        }

    def start(self) -> None:
        """Begin to listen to the other workers."""
        for channel in self._channels.values():
            channel.start()

    async def stop(self) -> None:
        """Stop listening."""
        for channel in self._channels.values():
            await channel.stop()

    async def make_room(self, question: Question, refusal: Refusal = LIMIT_REACHED) -> int:
        """Have unsent bytes returned by every worker. Returns how many transfers of the file still run.

        Raises Refused when nothing is asked: so soon after a question that did not help, or with too many
        under way. refusal: the one to raise, unless the earlier question had another.
        """
        file = question.subject
        now = asyncio.get_running_loop().time()
        until, earlier = self._fruitless.get(file, (0.0, refusal))
        if until > now:
            raise Refused(earlier)
        if len(self._answers) >= MAX_ASKS:
            raise Refused(refusal)
        number = str(next(self._numbers))
        answers = self._answers[number] = asyncio.Queue()
        try:
            running = await self._yield_to(question)
            channel = self._channels.get(id(self._topology.pipeline(question.identifier)))
            if channel is None:
                return running
            text = f"ask {self._name} {number} {question.encode()}"
            expected = await channel.publish(EVERY_WORKER, text) - 1  # this worker is one of them
            async with asyncio.timeout(ANSWER_SECONDS):
                for _ in range(expected):
                    running += await answers.get()
        except (StoreUnavailable, TimeoutError):
            pass  # the next claim tells what was returned
        finally:
            del self._answers[number]
        return running

    def note_fruitless(self, question: Question, refusal: Refusal) -> None:
        """Remember that a question did not help, and how its request was refused."""
        file = question.subject
        self._fruitless[file] = asyncio.get_running_loop().time() + FRUITLESS_SECONDS, refusal
        self._fruitless.move_to_end(file)
        if len(self._fruitless) > FRUITLESS_KEPT:
            self._fruitless.popitem(last=False)

    def _receive(self, text: str) -> None:
        kind, sender, number, *words = [*text.split(" "), "", "", ""][: MAX_SPANS + 6]
        if kind == "answer" and sender == self._name and number in self._answers:
            self._answers[number].put_nowait(int(words[0]) if words[0].isdecimal() else 0)
        elif kind == "revoked":
            self.on_revoked(sender)
        elif kind == "running":
            self.on_asked(sender)
        elif kind == "ask" and sender != self._name:
            task = asyncio.get_running_loop().create_task(self._answer(sender, number, words))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _answer(self, sender: str, number: str, words: Sequence[str]) -> None:
        try:
            question = Question.decode([word for word in words if word])
            running = await self._yield_to(question)
            channel = self._channels[id(self._topology.pipeline(question.identifier))]
            await channel.publish(sender, f"answer {sender} {number} {running}")
        except (StoreUnavailable, ValueError):
            pass  # who asked does not wait for ever

    async def _yield_to(self, question: Question) -> int:
        """Give up bytes of this worker's transfers. Returns how many transfers still run afterwards."""
        if question.file == PLACES:
            return await self._end_stalled(self.places_of(question.identifier), question)
        leases = self._leases.of_file(question.identifier, question.file)
        if not leases:
            return 0
        if question.demand is Demand.STALLED:
            return await self._end_stalled(leases, question)
        ended = [lease for lease in leases if lease.delivery and lease.delivery.has_lost_client()]
        others = [lease for lease in leases if lease not in ended]
        if question.demand is Demand.FROM_RANGE:
            for lease in others:
                await self._cut_where_it_begins(lease, question.spans)
        else:
            ended += await self._take_by_force(others, question)
        await self._end(ended, question.identifier)
        return len(leases) - len(ended)

    async def _end_stalled(self, watched: Sequence[Watched], question: Question) -> int:
        """End what has lost its client, or whose client takes nothing. Returns how many go on."""
        now = asyncio.get_running_loop().time()
        ended = [
            each
            for each in watched
            if each.delivery
            and (each.delivery.has_lost_client() or each.idle_seconds(now) >= STALLED_SECONDS)
        ]
        await self._end(ended, question.identifier)
        return len(watched) - len(ended)

    async def _end(self, ended: Sequence[Watched], identifier: str) -> None:
        for each in ended:
            if each.delivery is not None:
                each.delivery.break_off()
        await self._until_settled(ended, identifier)

    async def _cut_where_it_begins(self, lease: Lease, wanted: Sequence[Span]) -> None:
        if lease.delivery is not None:
            most = bytes_before(lease.spans, lease.delivery.sent, wanted)
            if most is not None:
                await self._cut(lease, most)

    async def _take_by_force(self, leases: Sequence[Lease], question: Question) -> list[Lease]:
        """Cut transfers at their ends, the oldest first; return the leases of those that must end as well."""
        missing = question.amount
        for lease in leases:
            if lease.delivery is not None and missing > 0:
                unsent = max(0, lease.amount - lease.delivery.sent)
                missing -= await self._cut(lease, lease.amount - min(missing, unsent))
        if missing <= 0:
            return []
        return [
            lease
            for lease in leases
            if lease.delivery is not None and has_sent(lease.spans, lease.delivery.sent, question.spans)
        ]

    async def _cut(self, lease: Lease, most: int) -> int:
        """Let a transfer send at most so many bytes, and return the rest. Returns how many bytes that is."""
        if (
            lease.delivery is None or lease.in_doubt
        ):  # a first checkpoint may still arrive, with the old number
            return 0
        returned = lease.amount - lease.delivery.cut(min(most, lease.amount))
        if returned <= 0:
            return 0
        lease.amount -= returned
        try:
            await self._topology.run(
                TRIM, token_key(lease.identifier), lease.file, lease.name, returned
            ).as_future()
        except NotExecuted:
            lease.amount += returned  # settling returns them
            return 0
        except StoreUnavailable:
            _log.warning("a refund of %d bytes was perhaps lost: the store did not answer", returned)
        return returned

    async def _until_settled(self, leases: Sequence[Watched], identifier: str) -> None:
        """Wait until the store has what the ended transfers return."""
        if not leases:
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(ANSWER_SECONDS):
                while any(lease.delivery is not None for lease in leases):  # noqa: ASYNC110 - a few turns
                    await asyncio.sleep(0.001)
        await self._topology.pipeline(identifier).call(b"PING").as_future()  # answered in order
