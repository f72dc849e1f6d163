"""What the gateway asks of a Redis user, in one table, and the trials by which `check` finds what is missing.

Each trial is a command as the gateway sends it, on keys that do not exist, and leaves nothing behind: it
reads, it writes nothing, or its arguments are refused once its permission has been seen. Only TEMPORARY ones
make a key, which the next command removes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from gateway.store.client_connection import Command
from gateway.store.key_names import (
    AUDIT_KEY,
    CATALOGUE_KEY,
    JOBS_KEY,
    PROBE_KEY,
    PRODUCTS_KEY,
    TOKEN_INDEX_KEY,
    api_key_key,
    challenge_key,
    code_key,
    idempotency_record_key,
    job_key,
    link_key,
    manifest_key,
    notice_key,
    old_key_key,
    product_key,
    quota_key,
    rate_key,
    running_key,
    running_list_key,
    session_key,
    sessions_key,
    version_key,
)
from gateway.store.replies import ErrorReply
from gateway.store.scripts import Script

KEYS: Final = "dg:*"
"""All keys of the gateway, and all its channels."""
_SCRIPT: Final = Script("return 1")
_TEMPORARY: Final = idempotency_record_key("probe")

TRIALS: Final[dict[str, Command]] = {
    "ping": ("PING",),
    "time": ("TIME",),
    "select": ("SELECT", "none"),
    "scan": ("SCAN", "0", "MATCH", PROBE_KEY, "COUNT", 1),
    "script|load": ("SCRIPT", "LOAD", _SCRIPT.text),
    "eval": ("EVAL", _SCRIPT.text, 1, PROBE_KEY),
    "evalsha": ("EVALSHA", _SCRIPT.sha, 1, PROBE_KEY),
    "exists": ("EXISTS", PROBE_KEY),
    "get": ("GET", PROBE_KEY),
    "set": ("SET", PROBE_KEY, "", "PX", 0),  # no time may be 0
    "setrange": ("SETRANGE", PROBE_KEY, 0, ""),
    "del": ("DEL", PROBE_KEY),
    "pexpireat": ("PEXPIREAT", PROBE_KEY, 1),
    "getdel": ("GETDEL", PROBE_KEY),
    "hget": ("HGET", PROBE_KEY, "max"),
    "hmget": ("HMGET", PROBE_KEY, "max"),
    "hgetall": ("HGETALL", PROBE_KEY),
    "hexists": ("HEXISTS", PROBE_KEY, "max"),
    "hdel": ("HDEL", PROBE_KEY, "max"),
    "hset": ("HSET", PROBE_KEY, "max", "1", "size"),  # a value is missing
    "hincrby": ("HINCRBY", PROBE_KEY, "max", "none"),  # this is no number
    "hvals": ("HVALS", PROBE_KEY),
    "smembers": ("SMEMBERS", PROBE_KEY),
    "srem": ("SREM", PROBE_KEY, "probe"),
    "xadd": ("XADD", PROBE_KEY, "NOMKSTREAM", "*", "probe", "1"),  # there is no stream
    "xlen": ("XLEN", PROBE_KEY),
    "xrange": ("XRANGE", PROBE_KEY, "-", "+", "COUNT", 1),
    "xgroup|create": ("XGROUP", "CREATE", PROBE_KEY, "probe", "$"),  # there is no stream
    "xreadgroup": ("XREADGROUP", "GROUP", "probe", "probe", "STREAMS", PROBE_KEY, ">"),  # nor a group
    "xpending": ("XPENDING", PROBE_KEY, "probe"),
    "xautoclaim": ("XAUTOCLAIM", PROBE_KEY, "probe", "probe", 0, "0"),
    "xack": ("XACK", PROBE_KEY, "probe", "0-1"),
    "xdel": ("XDEL", PROBE_KEY, "0-1"),
    "incrby": ("INCRBY", PROBE_KEY, "none"),  # this is no number
    "decrby": ("DECRBY", PROBE_KEY, "none"),
    "xrevrange": ("XREVRANGE", PROBE_KEY, "+", "-", "COUNT", 1),
    "zadd": ("ZADD", PROBE_KEY, "none", "probe"),  # this is no number
    "zcard": ("ZCARD", PROBE_KEY),
    "zremrangebyscore": ("ZREMRANGEBYSCORE", PROBE_KEY, "0", "1"),
    "zrange": ("ZRANGE", PROBE_KEY, "[t", "(u", "BYLEX"),
    "zscore": ("ZSCORE", PROBE_KEY, "probe"),
    "zrem": ("ZREM", PROBE_KEY, "probe"),
    "publish": ("PUBLISH", "dg:probe", ""),  # nobody listens there
}
"""Commands that the gateway needs, as an ACL names them, and a trial of each."""
TEMPORARY: Final[dict[str, Command]] = {
    "hsetnx": ("HSETNX", _TEMPORARY, "probe", "1"),
    "sadd": ("SADD", _TEMPORARY, "probe"),
}
"""Those that have no trial without a key that is made; it is removed at once."""
REMOVE: Final[dict[str, Command]] = {"del": ("DEL", _TEMPORARY), "pexpireat": ("PEXPIREAT", _TEMPORARY, 1)}
"""Both, because a user may lack one of them."""

KEY_TRIALS: Final[dict[str, str]] = {
    "dg:token:*": PROBE_KEY,
    "dg:running:*": running_key("probe"),
    "dg:rate:*": rate_key("probe"),
    "dg:manifest:*": manifest_key("probe"),
    "dg:product:*": product_key(":probe"),
    "dg:version:*": version_key(":probe"),
    PRODUCTS_KEY: PRODUCTS_KEY,
    CATALOGUE_KEY: CATALOGUE_KEY,
    "dg:key:*": api_key_key("probe"),
    "dg:oldkey:*": old_key_key("probe"),
    AUDIT_KEY: AUDIT_KEY,
    TOKEN_INDEX_KEY: TOKEN_INDEX_KEY,
    "dg:events:*": "dg:events:{probe}",
    "dg:job:*": job_key("probe"),
    "dg:running_list:*": running_list_key("probe"),
    JOBS_KEY: JOBS_KEY,
    "dg:session:*": session_key("probe"),
    "dg:challenge:*": challenge_key("probe"),
    "dg:notice:*": notice_key("probe"),
    "dg:sessions:*": sessions_key("probe", "probe"),
    "dg:code:*": code_key("probe"),
    "dg:link:*": link_key("probe"),
    "dg:quota:*": quota_key("probe"),
    "dg:idem:*": idempotency_record_key("probe"),
}
"""The kinds of keys, and one of each. No product has a colon in its id."""

UNTRIED: Final = ("subscribe",)
"""Those without a trial: it would change what the connection is for."""

COMMANDS: Final = tuple(sorted((*TRIALS, *TEMPORARY, *UNTRIED)))
OPTIONAL: Final = {
    "xtrim": "what is older than `retention.audit` or `retention.addresses` leaves the store",
    "bgrewriteaof": "an erased customer leaves the append-only file at once",
    "info": "`check` looks at version, memory and persistence",
    "config|get": "`check` looks at snapshots",
    "role": "the gateway asks for the server's role by ROLE; without it by HELLO, which everybody may send",
}
"""Commands that make something better, and what."""


def acl_rules(commands: tuple[str, ...] = COMMANDS) -> str:
    """The rules of ACL SETUSER for these commands and all keys and channels of the gateway."""
    names = (f"+{name}" for name in commands)
    return " ".join(["resetkeys", f"~{KEYS}", "resetchannels", f"&{KEYS}", "-@all", *names])


@dataclass(frozen=True)
class Missing:
    """Permissions that a user lacks. keys: patterns that it may not read and write."""

    commands: tuple[str, ...]
    keys: tuple[str, ...]

    @property
    def rules(self) -> str:
        """The rules of ACL SETUSER that add what is missing."""
        return " ".join([*(f"+{name}" for name in self.commands), *(f"~{KEYS}" for _ in self.keys[:1])])


def trials() -> tuple[Command, ...]:
    """All trials, in the order that `missing` expects."""
    return (
        *TRIALS.values(),
        *(command for trial in TEMPORARY.values() for command in (trial, *REMOVE.values())),
        *(command for key in KEY_TRIALS.values() for command in (("EXISTS", key), ("SETRANGE", key, 0, ""))),
    )


def missing(replies: list[ErrorReply | None]) -> Missing:
    """What the replies to `trials` say; None stands for a reply that is no error."""
    denied = [reply is not None and reply.code == "NOPERM" for reply in replies]
    for_key = [reply is not None and "access" in reply.text for reply in replies]
    names = [*TRIALS, *(each for name in TEMPORARY for each in (name, *REMOVE))]
    commands = [name for name, no, key in zip(names, denied, for_key, strict=False) if no and not key]
    rest = list(zip(denied, for_key, strict=True))[len(names) :]
    keys = [
        pattern
        for number, pattern in enumerate(KEY_TRIALS)
        if any(no and key for no, key in rest[2 * number : 2 * number + 2])
    ]
    return Missing(tuple(dict.fromkeys(commands)), tuple(keys))
