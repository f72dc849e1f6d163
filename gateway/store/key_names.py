"""The names of the keys in Redis, in one place, and which of several servers holds a key.

    key                 kind     holds
    dg:token:{ID}       hash     what a token opens, what it may still receive, and for whom it was made.
                                 ID: first 32 hex digits of SHA-256(token); the token itself is never here.
                                 manifest (digest), product, version, created, expires (ms since 1970 UTC);
                                 optional max (downloads), size (bytes; with max and a manifest of one file),
                                 email, name, metadata (JSON), key (the id of the API key that made it),
                                 revoked (ms); charged:N (bytes of file number N); while it is downloaded also
                                 lease:N:NAME and leased (store/scripts/); where they are limited also caps
                                 (tokens/caps.py) and bound (tokens/binding.py).
                                 The key lives exactly until `expires` (PEXPIREAT)
    dg:running:{ID}     zset     of a token with a limit of connections: its running transfers, and when each
                                 place ends (ms), by which the key lives (tokens/places.py)
    dg:rate:{ID}        string   of a token with a rate: to which moment (ms) its bytes are taken; lives as
                                 long (tokens/pacing.py)
    dg:tokens           zset     the index of all tokens (tokens/index.py)
    dg:manifest:{D}     string   a manifest as JSON; D is the SHA-256 of this text, so it never changes
    dg:product:{ID}     hash     name, status (active | archived), active (the version), created (ms);
                                 trusted:VERSION (1: the digests of its files were not computed by us)
    dg:version:{ID}     hash     version → digest of its manifest
    dg:catalogue        hash     which state of the database the store was filled with: database, revision;
                                 while it is being filled also filling (catalogue/filling.py)
    dg:products         set      the ids of all products, only for listing
    dg:key:{HASH}       hash     an API key by its SHA-256: name, role, created (ms); optional expires (ms).
                                 The key lives exactly until `expires` (PEXPIREAT)
    dg:oldkey:{HASH}    string   when an API key expires or has expired (ms); kept for a while after that, so
                                 that its user learns why it is refused
    dg:audit            stream   the latest changes: action, by, and what was changed (tokens/audit.py)
    dg:events:{N}       stream   events of usage on their way to the database, in batches (usage/events.py);
                                 dg:events:{N}:bytes counts the bytes that wait, and dg:events:{N}:aside
                                 (a stream) has the latest batches that could not be applied
    dg:job:{ID}         string   long work that a page has asked for, as JSON (web/jobs.py)
    dg:running_list:{Q} stream   what runs in the workers: their answers to one question of the dashboard; it
                                 lives for some seconds (usage/running.py)
    dg:jobs             zset     the ids of these jobs, by the moments (ms) when they were asked for
    dg:session:{HASH}   hash     who is signed in to pages: kind, subject, agent, created, seen, ends (ms).
                                 HASH: SHA-256 of what the cookie holds. The key lives for the idle time
    dg:challenge:{HASH} string   what a passkey of one browser is to sign next; it is read once, and lives for
                                 some minutes. HASH: SHA-256 of what only this browser has
    dg:notice:{HASH}    string   what the next page of a session says, JSON; it is read once. Never a secret
    dg:sessions:{K:S}   zset     the sessions of one subject S of a kind K, and when each ends at last (ms)
    dg:code:{ID}        hash     a code that was sent by mail (web/portal/challenges.py): browser, proof,
                                 generation, tries. ID and values are hashes; lives as long as the code
    dg:link:{HASH}      string   a link to sign in, by the SHA-256 of its secret: JSON; lives as long as it
    dg:quota:{HASH}     hash     how often something was done within a window of time: count, ends (ms)
    dg:idem:{HASH}      string   the answer to one Idempotency-Key: state, expires (ms), JSON

The part in braces is Redis Cluster's hash tag: keys with the same tag lie in the same slot, and so on the
same server. Every script touches the keys of one tag only, so the keys can be spread over several servers.
"""

from __future__ import annotations

from typing import Final

from redis.crc import REDIS_CLUSTER_HASH_SLOTS, key_slot

PRODUCTS_KEY: Final = "dg:products"
CATALOGUE_KEY: Final = "dg:catalogue"
AUDIT_KEY: Final = "dg:audit"
TOKEN_INDEX_KEY: Final = "dg:tokens"  # noqa: S105 - the name of a key
JOBS_KEY: Final = "dg:jobs"
EVENT_STREAMS: Final = 4
"""How many streams of events there are, so that they may lie on several servers."""
API_KEY_PATTERN: Final = "dg:key:*"
TOKEN_PATTERN: Final = "dg:token:{*}"  # noqa: S105 - a pattern of key names
"""Patterns for SCAN."""
PROBE_KEY: Final = "dg:token:{probe}"
"""A key that never exists: no token has such an id. With it we ask whether the store can be written to."""


def token_key(identifier: str) -> str:
    """The key of a token, by the token's id."""
    return f"dg:token:{{{identifier}}}"


def running_key(identifier: str) -> str:
    """The key of a token's running transfers; it has the same hash tag as the token's own key."""
    return f"dg:running:{{{identifier}}}"


def rate_key(identifier: str) -> str:
    """The key of what is taken of a token's rate; it has the same hash tag as the token's own key."""
    return f"dg:rate:{{{identifier}}}"


def manifest_key(digest: str) -> str:
    """The key of a manifest, by its digest."""
    return f"dg:manifest:{{{digest}}}"


def product_key(identifier: str) -> str:
    """The key of a product."""
    return f"dg:product:{{{identifier}}}"


def version_key(identifier: str) -> str:
    """The key of a product's versions; it has the same hash tag as the product's own key."""
    return f"dg:version:{{{identifier}}}"


def api_key_key(digest: str) -> str:
    """The key of an API key, by the API key's SHA-256 (64 hex digits)."""
    return f"dg:key:{{{digest}}}"


def old_key_key(digest: str) -> str:
    """The key of what is known of an API key after its expiry; it has the same hash tag as the API key."""
    return f"dg:oldkey:{{{digest}}}"


def events_key(number: int) -> str:
    """The key of a stream of events. number: any, such as a worker's: its remainder chooses the stream."""
    return f"dg:events:{{{number % EVENT_STREAMS}}}"


def events_aside_key(number: int) -> str:
    """The key of a stream of batches that were set aside; it has the same hash tag as the other stream."""
    return f"{events_key(number)}:aside"


def running_list_key(question: str) -> str:
    """The key of the answers to a question for what runs."""
    return f"dg:running_list:{{{question}}}"


def job_key(identifier: str) -> str:
    """The key of a job."""
    return f"dg:job:{{{identifier}}}"


def session_key(digest: str) -> str:
    """The key of a session, by the SHA-256 (64 hex digits) of what its cookie holds."""
    return f"dg:session:{{{digest}}}"


def challenge_key(digest: str) -> str:
    """The key of a browser's challenge, by the SHA-256 (64 hex digits) of what only the browser has."""
    return f"dg:challenge:{{{digest}}}"


def notice_key(digest: str) -> str:
    """The key of what the next page of a session says. digest: as for `session_key`."""
    return f"dg:notice:{{{digest}}}"


def sessions_key(kind: str, subject: str) -> str:
    """The key of the list of one subject's sessions."""
    return f"dg:sessions:{{{kind}:{subject}}}"


def code_key(identifier: str) -> str:
    """The key of a code that was sent by mail, by the hash of its kind and subject."""
    return f"dg:code:{{{identifier}}}"


def link_key(digest: str) -> str:
    """The key of a link to sign in, by the SHA-256 (64 hex digits) of its secret."""
    return f"dg:link:{{{digest}}}"


def quota_key(digest: str) -> str:
    """The key of a quota, by the hash of its name."""
    return f"dg:quota:{{{digest}}}"


def idempotency_record_key(digest: str) -> str:
    """The key of the record of one Idempotency-Key; see gateway.tokens.idempotency for the digest."""
    return f"dg:idem:{{{digest}}}"


def server_number(key: str | bytes, servers: int) -> int:
    """Which of `servers` servers, numbered from 0, holds a key. A key's hash tag alone gives the same number.

    Each server holds one contiguous part of Redis Cluster's 16,384 slots, all of about the same length.
    """
    name = key.encode("utf-8", "surrogateescape") if isinstance(key, str) else key
    return int(key_slot(name)) * servers // REDIS_CLUSTER_HASH_SLOTS
