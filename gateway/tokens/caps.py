"""What limits a token beside its downloads: connections, rates, and the client it is bound to. Pure.

The field `caps` of a token's hash is a line of words, such as `connections=4 rate=1000000 binding=address`.
A token without any of them has no such field. Where the token says nothing, the settings decide.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final, NamedTuple

from gateway.products.validation import Fault

BINDINGS: Final = ("address", "network")
"""What a token may be bound to: the first client's IPv4 address or IPv6 /64; or its IPv4 /24 or IPv6 /48."""
MAX_CONNECTIONS: Final = 10_000
MAX_RATE: Final = 10**12
"""Bytes a second: more than any network of one machine."""


class Caps(NamedTuple):
    """connections: that may run at once. rate, connection_rate: bytes a second, of all together and of each.

    binding: one of BINDINGS. 0 and "" mean no limit.
    """

    connections: int = 0
    rate: int = 0
    connection_rate: int = 0
    binding: str = ""

    @property
    def is_paced(self) -> bool:
        """Whether bytes are sent no faster than some rate."""
        return bool(self.rate or self.connection_rate)

    def encode(self) -> str:
        """The line for the token's hash; empty where nothing is limited."""
        return " ".join(f"{name}={value}" for name, value in self._asdict().items() if value)


NO_CAPS: Final = Caps()
CapChanges = Mapping[str, int | str | None]
"""What to change of some caps, by the names of their fields; None removes one."""


@lru_cache(maxsize=1024)
def read_caps(text: bytes | None, default: Caps | None = None) -> Caps | None:
    """Read the line of a token's hash. None where nothing is limited.

    default: holds for what the line does not say. A word that is not known, or has no sense, is skipped.
    """
    caps = default or NO_CAPS
    for word in (text or b"").decode("ascii", "replace").split(" "):
        name, _, value = word.partition("=")
        if name == "binding" and value in BINDINGS:
            caps = caps._replace(binding=value)
        elif name in ("connections", "rate", "connection_rate") and value.isdecimal() and value.isascii():
            numbers: Any = {name: int(value[:15])}
            caps = caps._replace(**numbers)
    return caps if any(caps) else None


def encode_changes(changes: CapChanges) -> tuple[str, ...]:
    """Changes as `update_token.lua` takes them: a word for each field, '' to leave it, '-' to remove it."""
    return tuple(
        "" if name not in changes else "-" if changes[name] is None else str(changes[name])
        for name in Caps._fields
    )


def changed_caps(changes: CapChanges) -> Caps:
    """The caps that changes name, for `cap_faults`."""
    given: dict[str, Any] = {name: value for name, value in changes.items() if value is not None}
    return NO_CAPS._replace(**given)


def cap_faults(caps: Caps | None) -> list[Fault]:
    """What is wrong with limits, as the API names them: pairs of field and message."""
    if caps is None:
        return []
    faults: list[Fault] = []
    if not 0 <= caps.connections <= MAX_CONNECTIONS:
        faults.append(("maxConnections", f"must be 1 to {MAX_CONNECTIONS}"))
    for field, rate in (("maxRate", caps.rate), ("maxConnectionRate", caps.connection_rate)):
        if not 0 <= rate <= MAX_RATE:
            faults.append((field, f"must be 1 to {MAX_RATE} bytes a second"))
    if caps.binding and caps.binding not in BINDINGS:
        faults.append(("bindTo", f"must be {' or '.join(BINDINGS)}"))
    return faults
