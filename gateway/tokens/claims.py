"""What a request asks the store about its token: read it, claim bytes of a file, settle.

read_token       reads what the token opens (its manifest) and whether it has a limit; charges nothing
read_and_claim   does the same, and claims the whole of a version's only file where the token has a limit
claim            reserves the bytes about to be sent, or finds that the allowance is used up
claim_rest       reserves what is left for a request that asks for more
settle           returns what a claim reserved and the client did not receive

A token with `max` downloads may receive max × size bytes of each file, and half the size more. `charged:N`
counts what it has received of file number N of its manifest. Each script touches one key, so a claim is
atomic whichever worker makes it, and two workers that race can never issue more than the allowance.
`reservations.py` keeps what one request has claimed and settles it; `takeovers.py` gets bytes from other
transfers of the same token; `leases.py` keeps a claim from outliving its worker;
`gateway/store/scripts` describes the ledger that the scripts keep.
"""

from __future__ import annotations

import logging
from collections import deque
from typing import Any, Final, NamedTuple

from gateway.errors import LIMIT_REACHED, TOKEN_INVALID, Refused, StoreUnavailable
from gateway.http.index_page import Terms
from gateway.runtime.deferred import step
from gateway.store.commands import Command, NotExecuted, ScriptCall, pack
from gateway.store.key_names import manifest_key, token_key, version_key
from gateway.store.scripts import CLAIM, CLAIM_REST, READ_AND_CLAIM, SETTLE, Script
from gateway.store.topology import Topology
from gateway.tokens.leases import Lease
from gateway.tokens.terms import read_terms

_SOME_ID: Final = "0" * 32


def _template(*arguments: bytes | str) -> bytes:
    """Pack a command on the token `_SOME_ID`, with `%b` in place of its id: packing costs 1 µs."""
    return pack(arguments).replace(_SOME_ID.encode(), b"%b")


_READ: Final = _template(b"HMGET", token_key(_SOME_ID), b"manifest", b"revoked", b"max", b"caps")
_READ_AND_CLAIM: Final = _template(b"EVALSHA", READ_AND_CLAIM.sha, b"1", token_key(_SOME_ID))

REFUNDS_KEPT: Final = 10_000
"""How many refunds a worker keeps while the store is away. Of more, the oldest is lost, which is logged."""
REFUNDS_AT_ONCE: Final = 500
"""How many kept refunds are sent together when the store is back, because it also has downloads to answer."""
NOT_RESERVED: Final = -1
"""What `read_and_claim` finds instead of reserved bytes when the allowance has no room for the whole file."""

_log = logging.getLogger("gateway")
_new: Final = tuple.__new__
"""Makes a named tuple from a reply without a call of the tuple's own function: 0.1 µs a request."""


class TokenReply(NamedTuple):
    """The store's reply about a token.

    manifest: the digest of the manifest that the token opens; None when the token is unknown or has expired.
    revoked: when it was revoked, in ms since 1970 UTC; else None. limit: the number of downloads that it
    allows; None: any number, and nothing is charged. caps: its other limits (caps.py), or None. reserved:
    bytes of the version's only file that reading the token has reserved, or NOT_RESERVED.
    """

    manifest: bytes | None
    revoked: bytes | None
    limit: bytes | None
    caps: bytes | None
    reserved: int


def opened_manifest(reply: TokenReply) -> bytes:
    """Return the digest of the manifest that a token opens.

    Raises Refused (TOKEN_INVALID) when the token is unknown, has expired or was revoked.
    """
    if reply.manifest is None or reply.revoked is not None:
        raise Refused(TOKEN_INVALID)
    return reply.manifest


class TokenRead(Command):
    """The command of `read_token`. Awaiting it gives a TokenReply, or raises StoreUnavailable."""

    def result(self) -> TokenReply:
        """Return the reply, or raise StoreUnavailable."""
        if self._error is not None:
            raise self._error
        return _new(TokenReply, (*self._value, 0))


class TokenReadAndClaim(TokenRead):
    """The command of `read_and_claim`. A reply that comes too late returns what was reserved."""

    def __init__(self, claims: Claims, identifier: str) -> None:
        self._claims = claims
        self._identifier = identifier

    def result(self) -> TokenReply:
        """Return the reply, or raise StoreUnavailable."""
        if self._error is not None:
            raise self._error
        return _new(TokenReply, self._value)

    def with_script_text(self) -> bytes:
        """Return the command with the text of its script."""
        return ScriptCall(READ_AND_CLAIM, token_key(self._identifier)).with_script_text()

    def on_late_reply(self, reply: Any) -> None:
        """Return what was reserved: the request has been refused meanwhile."""
        reserved = TokenReply(*reply).reserved
        if reserved > 0:
            self._claims.settle(self._identifier, 0, reserved)


class _Claim(ScriptCall):
    """The command of `claim` or `claim_rest`. A reply that comes too late returns what was reserved."""

    RESERVED: Final = 1
    USED_UP: Final = 0

    def __init__(
        self,
        claims: Claims,
        identifier: str,
        file: int,
        amount: int,
        size: int,
        *more: int,
        script: Script = CLAIM,
    ) -> None:
        super().__init__(script, token_key(identifier), file, amount, size, *more)
        self._takes_rest = script is CLAIM_REST
        self._claims = claims
        self._identifier = identifier
        self._file = file
        self._amount = amount

    def on_late_reply(self, reply: Any) -> None:
        """Return what was reserved: the request has been refused meanwhile."""
        if self._takes_rest and reply > self.USED_UP:
            self._claims.settle(self._identifier, self._file, reply)
        elif reply == self.RESERVED and not self._takes_rest:
            self._claims.settle(self._identifier, self._file, self._amount)


class Refund(NamedTuple):
    """Bytes of file number `file` to return to a token, and the lease to end, if the store may hold one."""

    identifier: str
    file: int
    amount: int
    lease: Lease | None


class Claims:
    """Sends the commands above. A token is named by its id, and a file by its number in the manifest."""

    def __init__(self, topology: Topology) -> None:
        self._topology = topology
        self._post = topology.post  # bound once: with one server it is the pipeline's own method
        self._refunds: deque[Refund] = deque(maxlen=REFUNDS_KEPT)
        topology.call_when_ready(self._send_kept_refunds)

    def read_token(self, identifier: str) -> TokenRead:
        """Ask what the token opens; the reply is for `opened_manifest`.

        Unknown, expired and revoked tokens cost the same one command.
        """
        command = TokenRead()
        self._post(command, _READ % identifier.encode(), identifier)
        return command

    def read_and_claim(self, identifier: str) -> TokenReadAndClaim:
        """Ask the same, and claim a version's only file at once where the token has a limit.

        For the most frequent request, a plain GET of a minted URL: one round trip instead of two.
        """
        command = TokenReadAndClaim(self, identifier)
        self._post(command, _READ_AND_CLAIM % identifier.encode(), identifier)
        return command

    async def claim(self, identifier: str, file: int, amount: int, size: int) -> None:
        """Reserve `amount` bytes of file number `file`, whose size is `size` bytes.

        Raises Refused (LIMIT_REACHED, or TOKEN_INVALID when the token was revoked meanwhile) or
        StoreUnavailable.
        """
        command = _Claim(self, identifier, file, amount, size)
        self._post(command, command.packed(), identifier)
        reply = await command
        if reply == _Claim.USED_UP:
            raise Refused(LIMIT_REACHED)
        if reply != _Claim.RESERVED:
            raise Refused(TOKEN_INVALID)

    async def claim_rest(
        self, identifier: str, file: int, amount: int, size: int, first: int, least: int, *, waits: bool
    ) -> int:
        """Reserve what is left for a request that asks for `amount` bytes, which are more than that.

        first: the first byte that the request asks for. Once as many downloads were charged as the token
        allows, nothing is reserved for a request that begins in the first eighth of the file. least: fewer
        bytes are not reserved. waits: nothing is reserved for a request that will fit when the leases of the
        file have ended. Returns the reserved bytes. Raises as `claim` does.
        """
        command = _Claim(self, identifier, file, amount, size, first, least, int(waits), script=CLAIM_REST)
        self._post(command, command.packed(), identifier)
        reply = await command
        if reply == _Claim.USED_UP:
            raise Refused(LIMIT_REACHED)
        if reply < 0:
            raise Refused(TOKEN_INVALID)
        return int(reply)

    def settle(self, identifier: str, file: int, amount: int, lease: Lease | None = None) -> None:
        """Return `amount` bytes, and end the lease of the transfer; later, if the store does not take it now.

        A refund whose reply never came is sent again only where the end of the lease shows whether the store
        has carried it out. Otherwise it is not repeated: a customer may lose those bytes, but can never gain
        any.
        """
        known_lease = lease if lease is not None and lease.is_known else None
        step(self._settle(Refund(identifier, file, amount, known_lease)))

    async def _settle(self, refund: Refund) -> None:
        identifier, file, amount, lease = refund
        ending = () if lease is None else lease.ending
        try:
            await self._topology.run(SETTLE, token_key(identifier), file, amount, *ending)
        except StoreUnavailable as error:
            if lease is None and not isinstance(error, NotExecuted):
                _log.warning("a refund of %d bytes was perhaps lost: the store did not answer", amount)
                return
            if len(self._refunds) == REFUNDS_KEPT:
                _log.error("a refund is lost: the store has been away for too many of them")
            self._refunds.append(refund)

    def _send_kept_refunds(self) -> None:
        for _ in range(min(len(self._refunds), REFUNDS_AT_ONCE)):
            self.settle(*self._refunds.popleft())

    @property
    def owed(self) -> int:
        """How many refunds the store has not taken yet."""
        return len(self._refunds)

    async def manifest(self, digest: bytes) -> bytes:
        """Return the text of a manifest. Raises StoreUnavailable, also when the store does not hold it."""
        key = manifest_key(digest.decode())
        text = await self._topology.pipeline(key).call(b"GET", key)
        if text is None:
            raise StoreUnavailable("a token names a manifest that the store does not hold")
        return bytes(text)

    async def manifest_of_version(self, product: str, version: str) -> bytes | None:
        """Return the digest of the manifest that a version has now, or None. Raises StoreUnavailable."""
        key = version_key(product)
        digest = await self._topology.pipeline(key).call(b"HGET", key, version)
        return None if digest is None else bytes(digest)

    async def terms(self, identifier: str, product: str, files: int) -> Terms:
        """Return what an index tells of a token (terms.py). Raises StoreUnavailable."""
        return await read_terms(self._topology, identifier, product, files)

    async def check(self) -> None:
        """Return when every server would take a claim. Raises StoreUnavailable, with a `reason`."""
        await self._topology.check()
