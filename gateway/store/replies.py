"""What the error replies of Redis mean for us, in one table. Pure: no I/O, no clock.

An error reply begins with a code, a word in capitals (Redis' own documents, and redis-py's list of them).
Each code has one of three consequences:

    RECONNECT   this server, or this connection, is the wrong one: close it, look the name up again, and
                connect again. After a failover the old primary answers READONLY to writes, and what it
                reads is out of date
    REPORT      the server is the right one and cannot serve now: log it once, and let /readyz say so
    COMMAND     the fault lies in one command or in one key: log it once. /readyz does not show it, because
                one customer's record must not take a service out of its load balancer

A role that is no primary's (`is_primary`) has the same consequence as READONLY.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

MAX_TEXT: Final = 200
"""Characters of a server's text that a message repeats."""


class Consequence(enum.Enum):
    """What an error reply makes us do."""

    RECONNECT = "reconnect"
    REPORT = "report"
    COMMAND = "command"


class Meaning(NamedTuple):
    """One row of the table. text: what is wrong and how to repair it; fit to be shown to anybody."""

    consequence: Consequence
    text: str


_RECONNECT: Final = Consequence.RECONNECT
_REPORT: Final = Consequence.REPORT
_COMMAND: Final = Consequence.COMMAND
_NO_CLUSTER: Final = "the server is a node of a cluster: redis_url must name a single server"
_TURN: Final = "redis_url must lead to the primary"

TABLE: Final[Mapping[str, Meaning]] = {
    "READONLY": Meaning(_RECONNECT, f"the server is a read-only replica: {_TURN}"),
    "MASTERDOWN": Meaning(_RECONNECT, f"the server is a replica that has lost its primary: {_TURN}"),
    "UNBLOCKED": Meaning(_RECONNECT, f"the server has become a replica: {_TURN}"),
    "LOADING": Meaning(_RECONNECT, "the server is still loading its data: wait until it has"),
    "NOAUTH": Meaning(_RECONNECT, "the server wants a password: add it to redis_url"),
    "WRONGPASS": Meaning(_RECONNECT, "the server refuses the user or its password: correct redis_url"),
    "DENIED": Meaning(
        _RECONNECT, "the server takes only local connections (protected mode): set a password there"
    ),
    "MAXCLIENTS": Meaning(_RECONNECT, "the server has too many clients: raise its maxclients"),
    "OOM": Meaning(_REPORT, "the server's memory is full: raise its maxmemory"),
    "MISCONF": Meaning(_REPORT, "the server cannot write to its disk: make room there, or repair it"),
    "NOREPLICAS": Meaning(
        _REPORT, "the server has too few replicas: start them, or lower its min-replicas-to-write"
    ),
    "NOPERM": Meaning(_REPORT, "the Redis user lacks a permission: `download-gateway check` says which one"),
    "BUSY": Meaning(_REPORT, "a script keeps the server busy: wait, or end it by SCRIPT KILL"),
    "UNKILLABLE": Meaning(_REPORT, "a script keeps the server busy and cannot be ended: wait"),
    "MOVED": Meaning(_REPORT, _NO_CLUSTER),
    "ASK": Meaning(_REPORT, _NO_CLUSTER),
    "CROSSSLOT": Meaning(_REPORT, _NO_CLUSTER),
    "CLUSTERDOWN": Meaning(_REPORT, _NO_CLUSTER),
    "TRYAGAIN": Meaning(_REPORT, _NO_CLUSTER),
    "EXECABORT": Meaning(_COMMAND, "the server refused a transaction"),
    "NOSCRIPT": Meaning(_COMMAND, "the server has forgotten a script"),
    "WRONGTYPE": Meaning(_COMMAND, "a key holds a value of another kind"),
    "ERR": Meaning(_COMMAND, "the server refused a command"),
}
"""Codes that are missing here count as ERR."""

_CODE: Final = re.compile(r"[A-Z][A-Z0-9]*(?=[ :]|$)")
_IN_SCRIPT: Final = re.compile(r"-([A-Z]+) ")
"""Before version 7 a script's error reads `ERR Error running script (…): @user_script:1: -OOM command …`."""
_PHRASES: Final = (
    ("can't run this command", "NOPERM"),
    ("can't access at least one of the keys", "NOPERM"),
    ("ACL failure in script", "NOPERM"),
    ("max number of clients", "MAXCLIENTS"),
    ("max clients", "MAXCLIENTS"),
)
"""Texts that have no code of their own in some versions."""


@dataclass(frozen=True, slots=True)
class ErrorReply:
    """An error reply. text: the server's own words, which name commands and states, never a key's value."""

    code: str
    text: str

    @property
    def meaning(self) -> Meaning:
        """The row of the table."""
        return TABLE.get(self.code, TABLE["ERR"])


def read_error(text: str, code: str | None = None) -> ErrorReply:
    """Read an error reply. code: its first word, where a library has removed it from the text."""
    if code is None:
        found = _CODE.match(text)
        code = found[0] if found else "ERR"
    else:
        text = f"{code} {text}"
    text = text.partition(", with args")[0][
        :MAX_TEXT
    ]  # after this, an unknown command's arguments are quoted
    if code == "ERR":
        inner = next((word for word in _IN_SCRIPT.findall(text) if word in TABLE), None)
        phrase = next((word for part, word in _PHRASES if part in text), None)
        code = inner or phrase or code
    return ErrorReply(code, text)


ROLE_QUESTIONS: Final[tuple[tuple[str, ...], ...]] = (("ROLE",), ("HELLO", "2"), ("INFO", "replication"))
"""Questions that tell a server's role. When the user may not ask one (or the server does not know it), the
next one is tried. HELLO needs no permission, but exists only since Redis 6."""
_PRIMARY: Final = frozenset(("master", "primary"))
_REPLICA: Final = frozenset(("slave", "replica"))


def is_primary(reply: Any) -> bool | None:
    """Whether the reply to one of ROLE_QUESTIONS is a primary's; None when it does not tell."""
    role = _role(reply)
    if role in _PRIMARY:
        return True
    return False if role in _REPLICA else None


def _role(reply: Any) -> str | None:
    if isinstance(reply, dict):
        pairs = {_text(key): value for key, value in reply.items()}
        return _text(pairs.get("role"))
    if isinstance(reply, bytes | str):
        lines = (line.partition(":") for line in _text(reply).splitlines())
        return next((value.strip() for name, _, value in lines if name == "role"), None)
    if not isinstance(reply, list | tuple) or not reply:
        return None
    words = [_text(word) for word in reply]
    if "role" in words[0::2]:  # HELLO
        index = words[0::2].index("role") * 2 + 1
        return words[index] if index < len(words) else None
    return words[0]


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
