"""The scenarios of a comparison: what is requested, how it is measured, and which targets are set."""

from __future__ import annotations

from bench.scenarios.base import Participant, Scenario
from bench.scenarios.disturbed import Cold, Fast, Slow
from bench.scenarios.heads import HEADS
from bench.scenarios.objects import CachedMany, CachedOne, ObjectMany, ObjectOne
from bench.scenarios.requests import Auth, Limited, Mint, Ranges, Refused, Small, Workers
from bench.scenarios.transfers import LargeMany, LargeOne, TlsLarge, TlsSmall, TokenMemory

SCENARIOS: tuple[Scenario, ...] = (
    Small(),
    Limited(),
    Auth(),
    *HEADS,
    Refused(),
    Ranges(),
    LargeOne(),
    LargeMany(),
    ObjectOne(),
    ObjectMany(),
    CachedOne(),
    CachedMany(),
    Slow(),
    Fast(),
    Cold(),
    Mint(),
    Workers(),
    TlsSmall(),
    TlsLarge(),
    TokenMemory(),
)

__all__ = ["SCENARIOS", "Participant", "Scenario"]
