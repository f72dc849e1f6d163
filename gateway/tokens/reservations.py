"""What one request has reserved of its token's allowance, from the claim to the refund.

The life of a reservation:

    Reservation    begins for a token with a limit; reading the token may have reserved a version's only file
    reserve        reserves as many bytes of one file as are about to be sent
    lease_to       leases them while they are sent, so that they do not stay reserved if the worker dies
    charge_all     charges all of them, because nobody will report what the client receives
    settle         returns what the client did not receive, when the request has ended. Called exactly once

A request whose token has no limit has no reservation.
"""

from __future__ import annotations

from gateway.tokens.claims import Claims
from gateway.tokens.leases import Delivery, Lease, Leases


class Reservation:
    """Bytes of one file that are reserved for one request, and the lease while a delivery sends them.

    identifier: the token's id. amount: bytes that are reserved.
    """

    __slots__ = ("_claims", "_file", "_identifier", "_lease", "_leases", "_size", "amount")

    def __init__(self, claims: Claims, leases: Leases, identifier: str, amount: int) -> None:
        """Begin with what reading the token has reserved: `amount` bytes, the whole of file number 0."""
        self._claims = claims
        self._leases = leases
        self._identifier = identifier
        self._file = 0
        self._size = amount
        self._lease: Lease | None = None
        self.amount = amount

    async def reserve(self, file: int, amount: int, size: int) -> None:
        """Reserve `amount` bytes of file number `file`, which is `size` bytes long; more than are reserved.

        Raises Refused or StoreUnavailable, as `Claims.claim` does; then nothing more is reserved.
        """
        await self._claims.claim(self._identifier, file, amount, size)
        self._file, self._size, self.amount = file, size, amount

    def lease_to(self, delivery: Delivery) -> None:
        """Lease what is reserved, if anything, as long as the delivery sends it."""
        if self.amount:
            self._lease = self._leases.open(self._identifier, self._file, self.amount, self._size, delivery)

    def charge_all(self) -> None:
        """Return nothing at the end."""
        self.amount = 0

    def settle(self, sent: int) -> None:
        """Return what is reserved beyond the `sent` bytes that the client received, and end the lease."""
        lease, refund = self._lease, self.amount - sent
        if lease is not None:
            self._leases.close(lease)
        if refund > 0 or (lease is not None and lease.is_known):
            self._claims.settle(self._identifier, self._file, refund, lease)
