"""Codes and links that customers were sent, in the store.

A *challenge* is a mail that waits to be answered, one for each kind and subject: a new one makes the earlier
one void, with its link. Everything is kept by hash, and forgotten after LIFETIME_MINUTES.

- A code is tried at most MAX_TRIES times, only by the browser that asked, and met once.
- A link is taken once, by anybody who has it. Taking it leaves the code as it is, because some scanners of
  mails press buttons, too: whoever asked can still type the code.
- Whether a link is good is looked up without taking it (`find_link`), for the page with the button.
"""

from __future__ import annotations

import json
from typing import Any, Final, NamedTuple

from gateway.store.client import StoreClient
from gateway.store.key_names import code_key, link_key
from gateway.store.scripts import Script
from gateway.web.portal.codes import LIFETIME_MINUTES, MAX_TRIES, hash_of, is_secret, proof_of

LIFETIME: Final = 60_000 * LIFETIME_MINUTES
"""Milliseconds."""
SIGN_IN: Final = "sign-in"
MOVE: Final = "move"
"""The kinds of challenges. The subject of a sign-in is an address, that of a move a customer."""

_START: Final = Script.load("start_challenge")
_TRY: Final = Script.load("try_challenge")
_TAKE: Final = Script.load("take_link")


class Challenge(NamedTuple):
    """A challenge that was begun. generation: tells it from those before and after it."""

    kind: str
    subject: str
    generation: str

    @property
    def key(self) -> str:
        """Its key in the store."""
        return code_key(hash_of(self.kind, self.subject))


class Link(NamedTuple):
    """What a link stands for: who is signed in by it. address: the hash of the address it was sent to."""

    customer: str
    address: str


class Challenges:
    """The challenges of the store. Every method may raise StoreUnavailable."""

    def __init__(self, store: StoreClient) -> None:
        self._store = store

    async def start(self, kind: str, subject: str, secret: str, *codes: str) -> Challenge:
        """Begin a challenge. secret: of the browser that asks. codes: all of which it must type."""
        challenge = Challenge(kind, subject, hash_of("generation", secret, *codes))
        fields = {
            "browser": hash_of("browser", secret),
            "proof": proof_of(secret, *codes),
            "generation": challenge.generation,
        }
        flat = [part for pair in fields.items() for part in pair]
        await self._store.run(_START, [challenge.key], LIFETIME, *flat)
        return challenge

    async def attempt(self, kind: str, subject: str, secret: str, *codes: str) -> str:
        """Try codes. Returns `met`, `wrong`, `spent` (no try is left) or `gone`.

        A challenge that is met is over, and its link with it.
        """
        key = Challenge(kind, subject, "").key
        browser, proof = hash_of("browser", secret), proof_of(secret, *codes)
        return str(await self._store.run(_TRY, [key], browser, proof, MAX_TRIES))

    async def add_link(self, challenge: Challenge, secret: str, link: Link) -> None:
        """Let a link answer a challenge. secret: the link's."""
        value = {"challenge": challenge.key, "generation": challenge.generation, **link._asdict()}
        await self._store.call("SET", link_key(hash_of("link", secret)), json.dumps(value), "PX", LIFETIME)

    async def find_link(self, secret: str) -> Link | None:
        """What a link stands for, if it is good. It stays good."""
        if not is_secret(secret):
            return None
        return await self._checked(await self._store.call("GET", link_key(hash_of("link", secret))))

    async def take_link(self, secret: str) -> Link | None:
        """What a link stands for, if it is good. It is gone afterwards."""
        if not is_secret(secret):
            return None
        return await self._checked(await self._store.run(_TAKE, [link_key(hash_of("link", secret))]))

    async def _checked(self, text: str | None) -> Link | None:
        """The link, unless its challenge was met, or a later one has begun."""
        if not text:
            return None
        value: dict[str, Any] = json.loads(text)
        if await self._store.call("HGET", value["challenge"], "generation") != value["generation"]:
            return None
        return Link(value["customer"], value["address"])
