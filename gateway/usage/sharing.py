"""Which links look shared. Pure.

A link is looked at by itself, by what its requests tell. Each reason is a number above a limit:

| reason | the number | usual limit |
| --- | --- | --- |
| networks | networks (IPv4 /24, IPv6 /48) that received something | 4 |
| overlap | networks that received something at the same moment | 3 |
| programs | kinds of programs (`client_classes`) | 3 |
| copies | bytes sent, in sizes of the files they were of | 4 |

A reason counts once, and twice from double its limit on. A link looks shared when its reasons count ENOUGH:
one number far above its limit, or two that reach it.

It is a hint, no proof. A phone changes its address when it changes between networks, carriers and some
companies send one person's requests from several networks, a program may use IPv4 and IPv6 at once, and a
family has several devices. Bots are left out, because scanners of mail open links before people do.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from gateway.http.client_address import network_group
from gateway.usage.client_classes import BOT, classify
from gateway.usage.downloads import Attempt

ENOUGH: Final = 2
NETWORKS: Final = "networks"
OVERLAP: Final = "overlap"
PROGRAMS: Final = "programs"
COPIES: Final = "copies"


class SharingLimits(NamedTuple):
    """From which number on a reason counts; 0: it never does."""

    networks: int = 4
    overlap: int = 3
    programs: int = 3
    copies: int = 4


class Reason(NamedTuple):
    """Why a link looks shared. value: the number. limit: that of the settings."""

    name: str
    value: int
    limit: int

    @property
    def weight(self) -> int:
        """How much it counts."""
        return 2 if self.value >= 2 * self.limit else 1


class Sharing(NamedTuple):
    """What was found of one link. networks, programs: the most used first."""

    reasons: tuple[Reason, ...]
    networks: tuple[str, ...]
    programs: tuple[str, ...]

    @property
    def looks_shared(self) -> bool:
        """Whether its reasons are enough."""
        return sum(reason.weight for reason in self.reasons) >= ENOUGH


def look_at(files: Iterable[tuple[int, Sequence[Attempt]]], limits: SharingLimits) -> Sharing:
    """Look at what one link sent: for each file its size, and the attempts at it."""
    listed = list(files)
    kinds = {agent: classify(agent) for agent in {each.agent for _, some in listed for each in some}}
    attempts = [each for _, some in listed for each in some if kinds[each.agent] != BOT]
    groups = {client: network_group(client) for client in {each.client for each in attempts} if client}
    networks = Counter(groups[each.client] for each in attempts if each.client)
    programs = Counter(kinds[each.agent] for each in attempts if each.agent)
    size = sum(size for size, some in listed if some)
    values = (
        (NETWORKS, len(networks), limits.networks),
        (OVERLAP, most_at_once(attempts, groups), limits.overlap),
        (PROGRAMS, len(programs), limits.programs),
        (COPIES, sum(each.sent for each in attempts) // size if size else 0, limits.copies),
    )
    reasons = tuple(Reason(*each) for each in values if 0 < each[2] <= each[1])
    return Sharing(reasons, _names(networks), _names(programs))


def _names(counted: Counter[str]) -> tuple[str, ...]:
    return tuple(sorted(counted, key=lambda name: (-counted[name], name)))


def most_at_once(attempts: Iterable[Attempt], groups: Mapping[str, str]) -> int:
    """In how many different networks something was received at one moment, at most.

    groups: the network of each client's address. Attempts that were put together (`downloads.compact`) tell
    of no moment.
    """
    moments: list[tuple[int, int, str]] = []
    for each in attempts:
        if each.client and each.times == 1 and each.started < each.ended:
            network = groups[each.client]
            moments += [(each.started, 1, network), (each.ended, 0, network)]
    running: Counter[str] = Counter()
    most = 0
    for _, begins, network in sorted(moments):  # what ends at a moment does so before what begins then
        running[network] += 1 if begins else -1
        if not begins and running[network] <= 0:
            del running[network]
        most = max(most, len(running))
    return most
