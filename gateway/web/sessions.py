"""Who is signed in to pages: sessions in the store, by the hash of what the cookie holds.

A session is of a *kind* (the portal's or the dashboard's) and of a *subject*, the id of a customer or of a
user. It ends when it was idle for too long, at its end at the latest, or when it is ended. Signing in always
makes a new one, so that a session that somebody else has set in the browser is worth nothing (fixation).
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from aiohttp import web

from gateway.store.client import StoreClient
from gateway.store.key_names import session_key, sessions_key
from gateway.store.scripts import Script

DAY: Final = 86_400_000
IDLE: Final = 30 * DAY
"""Milliseconds without a request after which a session ends."""
LONGEST: Final = 90 * DAY
"""Milliseconds after which a session ends although it is in use: then one signs in anew."""
NOTED_AFTER: Final = 60_000
"""Milliseconds between two notes of when a session was used, so that most requests only read."""
MAX_AGENT: Final = 200
"""Characters of the browser's name that are kept, for the list of sessions."""
MAX_SESSIONS: Final = 50
"""Sessions that one subject may have. The one that ends first makes room."""
_SECRET_LENGTH: Final = 43
"""Of 256 random bits in base64url."""
_MAKE: Final = Script.load("make_session")
_USE: Final = Script.load("use_session")


@dataclass(frozen=True)
class Session:
    """One session. id: its hash, which may be shown. Times are milliseconds since 1970 UTC."""

    id: str
    kind: str
    subject: str
    agent: str
    created: int
    seen: int
    ends: int


class Cookie:
    """The cookie of one kind of session.

    secure: whether browsers reach the pages by HTTPS. Then the name begins with `__Host-`, so that no other
    host and no plain HTTP can set it (RFC 6265bis). Browsers refuse such a cookie over plain HTTP, where the
    bare name is used instead; that is for trials on one machine.
    """

    def __init__(self, kind: str, *, secure: bool) -> None:
        self.name: Final = f"__Host-{kind}" if secure else kind
        self._secure = secure

    def read(self, request: web.BaseRequest) -> str:
        """What the request's cookie holds; empty for a request without one."""
        return request.cookies.get(self.name, "")

    def set(self, response: web.StreamResponse, value: str, seconds: int = LONGEST // 1000) -> None:
        """Give the browser the cookie. SameSite=Lax, because people arrive from a link in a mail."""
        response.set_cookie(
            self.name, value, max_age=seconds, path="/", secure=self._secure, httponly=True, samesite="Lax"
        )

    def remove(self, response: web.StreamResponse) -> None:
        """Take the cookie away."""
        self.set(response, "", 0)


class Sessions:
    """The sessions of one kind. Its methods raise StoreUnavailable."""

    def __init__(self, store: StoreClient, kind: str, idle: int = IDLE, longest: int = LONGEST) -> None:
        """idle, longest: milliseconds."""
        self.kind: Final = kind
        self._store = store
        self._idle = idle
        self._longest = longest

    async def make(self, subject: str, agent: str) -> str:
        """Make a session; returns what its cookie holds. agent: the browser's User-Agent."""
        secret = secrets.token_urlsafe(32)
        fields = {"kind": self.kind, "subject": subject, "agent": agent[:MAX_AGENT]}
        flat = [part for pair in fields.items() for part in pair]
        identifier = _hash(secret)
        ends = await self._store.run(_MAKE, [session_key(identifier)], self._idle, self._longest, *flat)
        index = sessions_key(self.kind, subject)
        await self._store.call("ZADD", index, ends, identifier)
        await self._store.call("PEXPIREAT", index, ends)
        surplus = await self._store.call("ZRANGE", index, 0, -MAX_SESSIONS - 1)
        await self._end(subject, surplus)
        return secret

    async def find(self, secret: str) -> Session | None:
        """The session of a cookie, which now lives on; None if there is none."""
        if len(secret) != _SECRET_LENGTH or not secret.isascii():
            return None
        identifier = _hash(secret)
        reply = await self._store.run(_USE, [session_key(identifier)], self._idle, NOTED_AFTER)
        found = _read(identifier, dict(zip(reply[::2], reply[1::2], strict=True)))
        return found if found is not None and found.kind == self.kind else None

    async def list(self, subject: str) -> list[Session]:
        """The sessions of a subject, the one used last first."""
        identifiers = await self._store.call("ZRANGE", sessions_key(self.kind, subject), 0, -1)
        replies = await self._store.call_all(*(("HGETALL", session_key(each)) for each in identifiers))
        found = [_read(each, reply) for each, reply in zip(identifiers, replies, strict=True)]
        await self._end(
            subject, [each for each, session in zip(identifiers, found, strict=True) if session is None]
        )
        return sorted((each for each in found if each is not None), key=lambda each: each.seen, reverse=True)

    async def end(self, subject: str, identifier: str) -> bool:
        """End a session of the subject by its id. Returns whether the subject had such a session."""
        index = sessions_key(self.kind, subject)
        if await self._store.call("ZSCORE", index, identifier) is None:
            return False
        await self._end(subject, [identifier])
        return True

    async def end_all(self, subject: str, keep: str = "") -> None:
        """End all sessions of a subject. keep: the id of one that goes on."""
        identifiers = await self._store.call("ZRANGE", sessions_key(self.kind, subject), 0, -1)
        await self._end(subject, [each for each in identifiers if each != keep])

    async def _end(self, subject: str, identifiers: Iterable[str]) -> None:
        """Remove sessions and their places in the list, the list last: so none is left that is not listed."""
        ended = list(identifiers)
        if ended:
            await self._store.call_all(*(("DEL", session_key(each)) for each in ended))
            await self._store.call("ZREM", sessions_key(self.kind, subject), *ended)


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _read(identifier: str, fields: Mapping[str, str]) -> Session | None:
    if "subject" not in fields:
        return None
    return Session(
        identifier,
        fields["kind"],
        fields["subject"],
        fields["agent"],
        int(fields["created"]),
        int(fields["seen"]),
        int(fields["ends"]),
    )
