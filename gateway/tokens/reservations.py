"""What one request has reserved of its token's allowance, from the claim to the refund.

The life of a reservation:

    Reservation    begins for a token with a limit; reading the token may have reserved a version's only file
    reserve        reserves as many bytes of one file as are about to be sent, if need be those of the token's
                   other transfers; or the rest of the allowance, where it is less than that
    lease_to       leases them while they are sent, so that they do not stay reserved if the worker dies
    charge_all     charges all of them, because nobody will report what the client receives
    settle         returns what the client did not receive, when the request has ended. Called exactly once

A request whose token has no limit has no reservation.

A request for more than is left of the allowance is not always refused. aria2c asks for the whole file first,
also to resume, and lftp and other managers ask for all that follows a gap, but then read only what they lack.
So as long as the token has not been charged all of its downloads, such a request is answered as if there was
enough, and its body ends where the allowance does: nobody receives more than the allowance. Afterwards this
holds for ranges that begin behind the first eighth of the file, which are no further download.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Final

from gateway.errors import LIMIT_REACHED, Refusal, Refused
from gateway.http.plans import Plan
from gateway.runtime.deferred import in_task
from gateway.tokens.claims import Claims
from gateway.tokens.deliveries import Delivery
from gateway.tokens.leases import Lease, Leases
from gateway.tokens.takeovers import DOWNLOADED_ALREADY, Demand, Question, Takeovers

PARTIAL_CONTENT: Final = HTTPStatus.PARTIAL_CONTENT.value
LEAST_CUT_SIZE: Final = 1024 * 1024
"""Bytes. Smaller files are not sent in part: some of their answers leave in one piece, and nothing can end
those early."""
LEAST_REST: Final = 256 * 1024
"""Bytes. Less is not sent in part, for the same reason, and because clients would ask again for so little."""


class Reservation:
    """Bytes of one file that are reserved for one request, and the lease while a delivery sends them.

    identifier: the token's id. amount: bytes that are reserved.
    """

    __slots__ = ("_claims", "_file", "_identifier", "_lease", "_leases", "_size", "_takeovers", "amount")

    def __init__(
        self, claims: Claims, leases: Leases, takeovers: Takeovers, identifier: str, amount: int
    ) -> None:
        """Begin with what reading the token has reserved: `amount` bytes, the whole of file number 0."""
        self._claims = claims
        self._leases = leases
        self._takeovers = takeovers
        self._identifier = identifier
        self._file = 0
        self._size = amount
        self._lease: Lease | None = None
        self.amount = amount

    async def reserve(self, file: int, plan: Plan, size: int) -> None:
        """Reserve the bytes of a plan for file number `file`, which is `size` bytes long.

        They are more than what is reserved already.

        Where the allowance is reserved by other transfers of the same token, they are asked for it. Fewer
        bytes may be reserved than the plan has: then the delivery must end early, as `lease_to` arranges.
        Raises Refused or StoreUnavailable, as `Claims.claim` does; then nothing more is reserved.
        """
        amount = plan.amount
        try:
            await self._claims.claim(self._identifier, file, plan.amount, size)
        except Refused as error:
            if error.refusal is not LIMIT_REACHED or not plan.segments:
                raise
            amount = await self._reserve_from_others(file, plan, size)
        self._file, self._size, self.amount = file, size, amount

    async def _reserve_from_others(self, file: int, plan: Plan, size: int) -> int:
        """Reserve what other transfers give up (see takeovers.py), or the rest of the allowance.

        Returns the reserved bytes. Raises as `reserve` does.
        """
        demands = (
            (Demand.FROM_RANGE, Demand.BY_FORCE) if plan.status == PARTIAL_CONTENT else (Demand.STALLED,)
        )
        spans = tuple(segment.span for segment in plan.segments)
        running = 0
        for demand in demands:
            question = Question(self._identifier, file, demand, spans)
            try:
                running = await in_task(self._takeovers.make_room(question))
            except Refused as error:
                return await self._reserve_rest(file, plan, size, error.refusal, waits=True)
            try:
                await self._claims.claim(self._identifier, file, plan.amount, size)
            except Refused as error:
                if error.refusal is not LIMIT_REACHED:
                    raise
            else:
                return plan.amount
        refusal = DOWNLOADED_ALREADY if running and demand is Demand.STALLED else LIMIT_REACHED
        try:
            return await self._reserve_rest(file, plan, size, refusal, waits=not running)
        except Refused:
            self._takeovers.note_fruitless(question, refusal)
            raise

    async def _reserve_rest(self, file: int, plan: Plan, size: int, refusal: Refusal, *, waits: bool) -> int:
        """Reserve what is left of the allowance.

        refusal: the one to raise where nothing can be reserved. waits: whether what is leased belongs to
        workers that are gone, since no transfer runs that could give it up. It comes back soon.
        """
        if refusal is not LIMIT_REACHED or size < LEAST_CUT_SIZE:
            raise Refused(refusal)
        first = min(segment.span.start for segment in plan.segments)
        return await self._claims.claim_rest(
            self._identifier, file, plan.amount, size, first, LEAST_REST, waits=waits
        )

    def lease_to(self, delivery: Delivery, plan: Plan) -> None:
        """Lease what is reserved, if anything, as long as the delivery sends the plan, or what fits of it."""
        if self.amount:
            if self.amount < plan.amount:
                delivery.cut(self.amount)
            spans = [segment.span for segment in plan.segments]
            self._lease = self._leases.open(
                self._identifier, self._file, self.amount, self._size, delivery, spans
            )

    def charge_all(self) -> None:
        """Return nothing at the end."""
        self.amount = 0

    def settle(self, sent: int) -> None:
        """Return what is reserved beyond the `sent` bytes that the client received, and end the lease."""
        lease, refund = self._lease, self.amount - sent
        if lease is not None:
            refund = lease.amount - sent  # other requests may have got a part of it
            self._leases.close(lease)
        if refund > 0 or (lease is not None and lease.is_known):
            self._claims.settle(self._identifier, self._file, refund, lease)
