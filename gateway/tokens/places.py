"""How many transfers of one token run at once, in all workers: each holds one of the token's places.

A token with a limit of connections has the key `dg:running:{ID}`: a name for each running transfer, and when
its place ends unless it is renewed. The rules:

- A transfer takes a place before its head is sent. Where there is none, transfers of the token whose client
  has gone, or has taken nothing for a while, end first, in whatever worker (takeovers.py). If none is found,
  the request is refused: 429.
- Places are renewed as leases are. So those of a worker that died are free again after `Times.lasts`.
- What is sent in one piece, such as a small file, takes no place.
"""

from __future__ import annotations

import asyncio
import secrets
from typing import Any, Final

from gateway.errors import TOO_MANY_CONNECTIONS, Refused
from gateway.runtime.deferred import in_task
from gateway.store.commands import ScriptCall
from gateway.store.key_names import running_key
from gateway.store.scripts import HOLD_PLACE
from gateway.store.topology import Topology
from gateway.tokens.deliveries import Delivery, Watched
from gateway.tokens.leases import Times
from gateway.tokens.takeovers import PLACES, Demand, Question, Takeovers

HELD: Final = 1


class Place(Watched):
    """The place of one transfer. due: when it is renewed, in the event loop's seconds."""

    __slots__ = ("due", "identifier", "name")

    def __init__(self, identifier: str, name: str, delivery: Delivery) -> None:
        super().__init__()
        self.identifier = identifier
        self.name = name
        self.delivery = delivery
        self.due = 0.0


class _Hold(ScriptCall):
    """The command that takes or renews a place. A reply that comes too late gives it back."""

    def __init__(self, places: Places, place: Place, most: int, lasts: float) -> None:
        super().__init__(HOLD_PLACE, running_key(place.identifier), place.name, most, round(lasts * 1000))
        self._places = places
        self._place = place

    def on_late_reply(self, reply: Any) -> None:
        """Give back what was taken, if the transfer does not run."""
        if reply == HELD and self._place.delivery is None:
            self._places.give_back(self._place)


class Places:
    """The places of one worker's transfers."""

    def __init__(self, topology: Topology, takeovers: Takeovers, times: Times | None = None) -> None:
        self._topology = topology
        self._takeovers = takeovers
        self._times = times or Times()
        self._loop = asyncio.get_running_loop()
        self._owner = secrets.token_hex(6)
        self._number = 0
        self._held: dict[str, list[Place]] = {}
        takeovers.places_of = self.of_token

    def of_token(self, identifier: str) -> tuple[Place, ...]:
        """The places that transfers of a token hold here."""
        return tuple(self._held.get(identifier, ()))

    async def take(self, identifier: str, delivery: Delivery, most: int) -> Place:
        """Take one of `most` places for a transfer. The caller leaves it.

        Raises Refused (TOO_MANY_CONNECTIONS) or StoreUnavailable.
        """
        self._number += 1
        place = Place(identifier, f"{self._owner}{self._number:x}", delivery)
        try:
            if not await self._hold(place, most):
                question = Question(identifier, PLACES, Demand.STALLED, ())
                await in_task(self._takeovers.make_room(question, TOO_MANY_CONNECTIONS))
                if not await self._hold(place, most):
                    self._takeovers.note_fruitless(question, TOO_MANY_CONNECTIONS)
                    raise Refused(TOO_MANY_CONNECTIONS)
        except BaseException:
            place.delivery = None
            raise
        self._held.setdefault(identifier, []).append(place)
        return place

    def leave(self, place: Place) -> None:
        """Give the place back: the transfer has ended."""
        place.delivery = None
        held = self._held[place.identifier]
        held.remove(place)
        if not held:
            del self._held[place.identifier]
        self.give_back(place)

    def give_back(self, place: Place) -> None:
        """Tell the store that a place is free. If it does not take it, the place ends by itself."""
        key = running_key(place.identifier)
        self._topology.pipeline(key).call(b"ZREM", key, place.name)

    def tick(self) -> None:
        """Renew the places that are due. To be called about once a second."""
        if not self._held or not self._topology.is_any_ready:
            return
        now = self._loop.time()
        for places in self._held.values():
            for place in places:
                if place.due <= now:
                    place.due = now + self._times.every
                    place.idle_seconds(now)
                    self._post(place, 0)

    async def _hold(self, place: Place, most: int) -> bool:
        place.due = self._loop.time() + self._times.every
        return bool(await self._post(place, most) == HELD)

    def _post(self, place: Place, most: int) -> _Hold:
        command = _Hold(self, place, most, self._times.lasts)
        self._topology.post(command, command.packed(), place.identifier)
        return command
