"""Look, claim, settle: what a request asks of the store, one token at a time.

look    what the token opens (its manifest) and whether it has a limit; charges nothing
take    look and claim in one, for the whole of a version's only file
claim   reserves the bytes about to be sent, or says that the allowance is used up
settle  returns what a claim reserved and the client did not take

A token with `max` downloads may receive max × size bytes of each file; `charged:N` counts what it has
received of file number N of its manifest. Each script touches one key, so a claim is atomic whichever
worker asks, and two racing workers can never issue more than the allowance. Transfers that last are leased,
so that their claims outlive no worker: see leases.py, and scripts.py for the ledger.
"""

from __future__ import annotations

import logging
from collections import deque
from typing import Any, Final

from gateway.errors import LIMIT_REACHED, TOKEN_INVALID, Refused, StoreUnavailable
from gateway.runtime.deferred import step
from gateway.store.commands import Command, NotExecuted, ScriptCall, pack
from gateway.store.key_names import manifest_key, token_key
from gateway.store.scripts import CLAIM, SETTLE, TAKE
from gateway.store.topology import Topology
from gateway.tokens.leases import Lease

LOOK: Final = pack((b"HMGET", token_key("0" * 32), b"manifest", b"revoked", b"max")).replace(b"0" * 32, b"%b")
TAKE_PACKED: Final = pack((b"EVALSHA", TAKE.sha, b"1", token_key("0" * 32))).replace(b"0" * 32, b"%b")
"""The commonest commands, packed but for the token's id: packing costs 1 µs."""

REFUNDS_KEPT: Final = 10_000
"""Refunds kept while the store is away, a worker; beyond it the oldest is lost (and logged)."""
REFUNDS_AT_ONCE: Final = 500
"""Kept refunds sent together when the store is back: it has downloads to answer, too."""

_log = logging.getLogger("gateway")


def read_grant(reply: Any) -> tuple[bytes, bool, int]:
    """What a token opens, by the answer to `look` or `take`.

    Its manifest's digest, whether its bytes are counted, and how many of them are reserved already. Raises
    Refused: TOKEN_INVALID when it is unknown, expired or revoked, LIMIT_REACHED when `take` found too little.
    """
    manifest, revoked, limit, *taken = reply
    if manifest is None or revoked is not None:
        raise Refused(TOKEN_INVALID)
    reserved = taken[0] if taken else 0
    if reserved < 0:
        raise Refused(LIMIT_REACHED)
    return manifest, limit is not None, reserved


class _Claim(ScriptCall):
    """Reserves bytes; when the answer comes too late, they are given back."""

    def __init__(self, claims: Claims, identifier: str, file: int, amount: int, size: int) -> None:
        super().__init__(CLAIM, token_key(identifier), file, amount, size)
        self._claims = claims
        self._identifier = identifier
        self._file = file
        self._amount = amount

    def on_late_reply(self, reply: Any) -> None:
        """The request has been refused meanwhile."""
        if reply == 1:
            self._claims.settle(self._identifier, self._file, self._amount)


class _Take(Command):
    """The same for `take`, whose answer says how much it has reserved."""

    def __init__(self, claims: Claims, identifier: str) -> None:
        self._claims = claims
        self._identifier = identifier

    def with_script_text(self) -> bytes:
        """With the script's text."""
        return ScriptCall(TAKE, token_key(self._identifier)).with_script_text()

    def on_late_reply(self, reply: Any) -> None:
        """The request has been refused meanwhile."""
        if reply[3] > 0:
            self._claims.settle(self._identifier, 0, reply[3])


class Claims:
    """The three questions, asked of the server that holds the token."""

    def __init__(self, topology: Topology) -> None:
        self._topology = topology
        self._send = topology.send  # bound once: with one server these are its pipeline's own methods
        self._post = topology.post
        self._refunds: deque[tuple[str, int, int, Lease | None]] = deque(maxlen=REFUNDS_KEPT)
        topology.call_when_ready(self._send_refunds)

    def look(self, identifier: str) -> Command:
        """Ask what the token opens: await it (StoreUnavailable) and read the reply with `read_grant`.

        Unknown, expired and revoked tokens cost the same one command.
        """
        return self._send(LOOK % identifier.encode(), identifier)

    def take(self, identifier: str) -> Command:
        """Look, and claim the whole file at once where there is one file and a limit; as `look` otherwise.

        For the commonest request, a plain GET of the minted URL: one round trip instead of two.
        """
        command = _Take(self, identifier)
        self._post(command, TAKE_PACKED % identifier.encode(), identifier)
        return command

    async def claim(self, identifier: str, file: int, amount: int, size: int) -> None:
        """Reserve `amount` bytes of file number `file`, whose size is `size` bytes.

        Raises Refused (LIMIT_REACHED, or TOKEN_INVALID when it was revoked meanwhile) or StoreUnavailable.
        """
        command = _Claim(self, identifier, file, amount, size)
        self._post(command, command.packed(), identifier)
        reply = await command
        if reply == 0:
            raise Refused(LIMIT_REACHED)
        if reply != 1:
            raise Refused(TOKEN_INVALID)

    def settle(self, identifier: str, file: int, refund: int, lease: Lease | None = None) -> None:
        """Return `refund` bytes, and end the transfer's lease; later, when the store does not take it now.

        A refund whose answer never came is sent again only where the lease's end shows whether it was carried
        out: else a customer may lose those bytes, but can never gain any.
        """
        step(self._settle(identifier, file, refund, lease if lease is not None and lease.is_known else None))

    async def _settle(self, identifier: str, file: int, refund: int, lease: Lease | None) -> None:
        named = () if lease is None else lease.ending
        try:
            await self._topology.run(SETTLE, token_key(identifier), file, refund, *named)
        except StoreUnavailable as error:
            if lease is None and not isinstance(error, NotExecuted):
                _log.warning("a refund of %d bytes was perhaps lost: the store did not answer", refund)
                return
            if len(self._refunds) == REFUNDS_KEPT:
                _log.error("a refund is lost: the store has been away for too many of them")
            self._refunds.append((identifier, file, refund, lease))

    def _send_refunds(self) -> None:
        for _ in range(min(len(self._refunds), REFUNDS_AT_ONCE)):
            self.settle(*self._refunds.popleft())

    @property
    def owed(self) -> int:
        """How many refunds the store has not taken yet."""
        return len(self._refunds)

    async def manifest(self, digest: bytes) -> bytes:
        """The text of a manifest. Raises StoreUnavailable, also when the store does not hold it."""
        key = manifest_key(digest.decode())
        text = await self._topology.pipeline(key).call(b"GET", key)
        if text is None:
            raise StoreUnavailable("a token names a manifest that the store does not hold")
        return bytes(text)

    async def ping(self) -> None:
        """Returns when the store answers. Raises StoreUnavailable."""
        await self._topology.ping()
