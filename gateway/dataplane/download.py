"""The path of a request through a worker, and how a download is answered.

1. The connection reads a request and calls `Downloads.begin`.
2. For a plain request (http/request_heads.py) the store is asked about the token at once, by
   `Claims.read_and_claim` for a whole file, and by `Claims.read_token` for a span and for a front proxy's
   question.
3. The reply calls `_on_token_read`, which tries the fast path (fast_path.py). Most requests are answered
   there, without a coroutine. If the fast path begins to send a span, `_on_span_sent` is called when this
   turn of the event loop ends.
4. Every other request, and a plain one for which the fast path is not possible, is answered by a coroutine,
   which is stepped without a task (runtime/deferred.py). `_route` chooses it: `_download` here, or
   `Authorisation.answer` (authorise.py) for `/auth`.
5. `_download` awaits the reply about the token, then the file with its blob (resolve.py); without a name and
   with several files, the index is the answer. It plans the answer by pure rules (http/plans.py). If the
   token has a limit, it reserves what is planned and not reserved yet. `_deliver` sends the answer in the way
   that suits the blob (delivery/).
6. The bytes that were reserved and not received are returned to the token (tokens/reservations.py).
7. Every exchange ends in one place (ending.py). A failure before the head was sent is answered by a refusal
   of the table. After a later failure, and after a defect of ours, the connection is broken, so that the
   client notices and resumes.
"""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

from aiohttp import hdrs

from gateway.dataplane.attempt_guard import AttemptGuard
from gateway.dataplane.authorise import Authorisation
from gateway.dataplane.client_limits import ClientLimits
from gateway.dataplane.delivery.batched_span import BatchedSpan, send_in_batch
from gateway.dataplane.delivery.relay import Relay
from gateway.dataplane.delivery.transfer import Transfer, send_at_once
from gateway.dataplane.ending import Endings
from gateway.dataplane.exchange import Exchange
from gateway.dataplane.fast_path import ANSWERED, NOT_POSSIBLE, FastPath
from gateway.dataplane.resolve import ResolvedIndex, Resolver
from gateway.dataplane.token_limits import TokenLimits
from gateway.errors import BAD_REQUEST, NOT_FOUND, Refused
from gateway.http.client_address import FORWARDED, TrustedProxies
from gateway.http.forward_auth import NGINX
from gateway.http.index_page import Terms
from gateway.http.links import download_path, relative_base
from gateway.http.pages import index_answer
from gateway.http.plans import PARTIAL, REDIRECT, Plan, Representation, plan_answer, plan_range, plan_redirect
from gateway.http.request_tokens import request_token
from gateway.http.targets import TargetKind, is_auth_target, read_target
from gateway.runtime.deferred import Deferred, in_task, step
from gateway.runtime.metrics import (
    BYTES_SENT,
    DOWNLOADS_ABORTED,
    DOWNLOADS_RUNNING,
    DOWNLOADS_STARTED,
    Counters,
)
from gateway.secrets import token_id
from gateway.storage.interface import Blob, ObjectBlob, Storage
from gateway.tokens.caps import Caps
from gateway.tokens.claims import Claims, TokenRead, opened_manifest
from gateway.tokens.leases import Leases
from gateway.tokens.reservations import Reservation
from gateway.tokens.takeovers import Takeovers
from gateway.tokens.transfers import Transfers


class Downloads:
    """Answers download requests, and passes authorisation requests on. public_url: the setting, or empty.

    base_url: what links begin with that are handed out elsewhere: `public_url`, or an URL made from `listen`.
    """

    def __init__(
        self,
        claims: Claims,
        leases: Leases,
        takeovers: Takeovers,
        resolver: Resolver,
        authorisation: Authorisation,
        fast_path: FastPath,
        endings: Endings,
        proxies: TrustedProxies,
        public_url: str,
        base_url: str,
        counters: Counters,
        guard: AttemptGuard,
        limits: TokenLimits,
        clients: ClientLimits,
        transfers: Transfers,
    ) -> None:
        self._claims = claims
        self._leases = leases
        self._takeovers = takeovers
        self._resolver = resolver
        self._authorisation = authorisation
        self._fast_path = fast_path
        self._endings = endings
        self._proxies = proxies
        self._public_url = public_url
        self._base_url = base_url
        self._count = counters.add
        self._add_file = counters.add_file
        self._guard = guard
        self._over = guard.over
        self._limits = limits
        self._clients = clients
        self._transfers = transfers

    def begin(self, exchange: Exchange) -> None:
        """Begin to answer one request, which is answered whatever happens. Never raises."""
        if exchange.token:
            exchange.token_id = token_id(exchange.token)
            if self._over and self._fast_path.refuse_attempt(exchange):
                self._endings.end(exchange)
                return
            read = self._claims.read_token if exchange.range else self._claims.read_and_claim
            read(exchange.token_id).add_done_callback(self._on_token_read, exchange)
        elif exchange.asked_token and self._proxies.trusts(exchange.connection.peer):
            exchange.dialect = NGINX
            exchange.token_id = token_id(exchange.asked_token)
            if self._over and self._guard.seconds_over(exchange):
                step(self._endings.run(exchange, self._route))
                return
            self._claims.read_token(exchange.token_id).add_done_callback(self._on_token_read, exchange)
        else:
            step(self._endings.run(exchange, self._route))

    def _on_token_read(self, command: TokenRead, exchange: Exchange) -> None:
        """Go on with a plain request: the store has answered, or the command has failed."""
        try:
            result = self._fast_path.answer(exchange, command.result())
        except Exception as error:
            self._endings.end(exchange, error)
            return
        if result is ANSWERED:
            self._endings.end(exchange)
        elif result is NOT_POSSIBLE:
            step(self._endings.run(exchange, self._route, command))
        else:
            result.add_done_callback(self._on_span_sent, exchange)

    def _on_span_sent(self, batched: BatchedSpan, exchange: Exchange) -> None:
        """Go on after the fast path has sent a span, or only the beginning of it."""
        if batched.value:
            batched.blob.release()
            self._count_sent(exchange, exchange.sent)
            self._endings.end(exchange)
        else:
            step(self._endings.run(exchange, self._send_rest, batched))

    def _route(
        self, exchange: Exchange, command: TokenRead | None = None
    ) -> Coroutine[Deferred[Any], None, None]:
        """Choose the coroutine that answers a request. Raises Refused.

        command: the command that reads the token, if it has been sent already.
        """
        headers = exchange.headers
        if FORWARDED in headers and self._proxies.disputes(exchange.connection.peer, headers):
            raise Refused(BAD_REQUEST, "X-Forwarded-For and Forwarded name different clients.")
        if exchange.token:
            return self._download(exchange, exchange.token, exchange.file or None, command)
        if exchange.target == "/auth":  # saves the 2 µs that read_target takes
            return self._authorisation.answer(exchange, command)
        try:
            target = read_target(exchange.target)
        except Refused:
            if is_auth_target(exchange.target):
                self._authorisation.check_peer(exchange)
            raise
        if target.kind is TargetKind.AUTH:
            return self._authorisation.answer(exchange)
        if target.kind is TargetKind.OTHER:
            raise Refused(NOT_FOUND)
        authorization = exchange.headers.getall(hdrs.AUTHORIZATION, ())
        token = request_token(target.token, authorization, target.file)
        return self._download(exchange, token, target.file, None, in_url=token == target.token)

    async def _download(
        self,
        exchange: Exchange,
        token: str,
        name: str | None,
        command: TokenRead | None,
        *,
        in_url: bool = True,
    ) -> None:
        """Answer a download of the file of this name, or of a version's only file, or with the index.

        in_url: where the token stands. The links of an index have it only where the request's URL has it.
        """
        if command is None:
            exchange.token_id = token_id(token)
            self._guard.check(exchange)
            command = self._claims.read_token(exchange.token_id)
        exchange.trace.step("claim")
        reply = await command
        digest = opened_manifest(reply)
        self._guard.note_valid(exchange.token_id)
        caps = self._limits.of(reply.caps)
        reservation = None
        if reply.limit is not None:
            reserved = max(0, reply.reserved)
            reservation = Reservation(
                self._claims, self._leases, self._takeovers, exchange.token_id, reserved
            )
        exchange.trace.step("resolve")
        try:
            resolved = await self._resolver.resolve(digest, name)
            if isinstance(resolved, ResolvedIndex):
                await self._limits.check_client(exchange, token, caps, binds=False)
                limited = len(resolved.manifest.files) if reply.limit is not None else 0
                terms = await self._claims.terms(exchange.token_id, resolved.manifest.product, limited)
                self._send_index(exchange, resolved, token if in_url else "", terms)
                return
            number, representation, storage, blob = resolved
            with blob:
                exchange.trace.step("plan")
                plan = (
                    plan_range(exchange.range, representation)
                    if exchange.token
                    else plan_answer(exchange.method, exchange.headers, representation)
                )
                if blob.as_object is not None:
                    plan = await _check_object(exchange, storage, blob.as_object, representation, plan)
                if caps is not None:
                    binds = bool(plan.segments) or plan.status == REDIRECT
                    await self._limits.check_client(exchange, token, caps, binds=binds)
                if plan.refusal is not None:
                    exchange.refuse(plan.refusal, fields=plan.head)
                    return
                if reservation is not None and plan.amount > reservation.amount:
                    exchange.trace.step("reserve")
                    await reservation.reserve(number, plan, representation.file.size)
                exchange.served = representation
                exchange.trace.step("send")
                await self._deliver(exchange, blob, plan, reservation, caps)
                if exchange.token and blob.as_file is not None and name in (None, representation.file.name):
                    self._fast_path.keep_file((digest, name or ""), storage, representation, blob.as_file)
                if plan.status == REDIRECT and reservation is not None:
                    reservation.charge_all()  # nobody reports what the client receives from the storage
        finally:
            if reservation is not None:
                exchange.trace.step("settle")
                reservation.settle(exchange.sent)

    def _send_index(self, exchange: Exchange, index: ResolvedIndex, token: str, terms: Terms) -> None:
        """Answer with an index. token: what its links have; empty where they are relative, without it."""
        address = ""
        if token:
            path = download_path(token, index.folder)
            base, address = self._public_url + path, self._base_url + path
        else:
            base = relative_base(exchange.target, index.folder)
        answer = index_answer(
            index.manifest,
            index.folder,
            base,
            terms,
            html=not exchange.prefers_json(),
            folders=not exchange.prefers_html(),
            address=address,
        )
        exchange.respond(200, *answer)

    async def _deliver(
        self, exchange: Exchange, blob: Blob, plan: Plan, reservation: Reservation | None, caps: Caps | None
    ) -> None:
        """Send a plan in the way that suits the blob."""
        file, remote = blob.as_file, blob.as_object
        is_paced = caps is not None and caps.is_paced and bool(plan.segments)
        if plan.status == PARTIAL:
            exchange.spans = [segment.span for segment in plan.segments]
        try:
            if file is None and remote is not None and plan.segments:
                await self._run(exchange, Relay(exchange, (remote,)), plan, reservation, caps)
            elif file is None:
                exchange.respond(plan.status, plan.head)
            elif is_paced or not send_at_once(exchange, file, plan):
                batched = None if is_paced else send_in_batch(exchange, file, plan)
                if batched is None or not await batched:
                    await self._run(exchange, Transfer(exchange, (file,)), plan, reservation, caps)
        finally:
            self._count_sent(exchange, plan.amount if plan.segments else 0)

    async def _send_rest(self, exchange: Exchange, batched: BatchedSpan) -> None:
        """Send what the kernel did not take of a span that the fast path began to send."""
        plan = batched.plan()
        with batched.blob as blob:
            try:
                await batched
                await self._run(exchange, Transfer(exchange, (blob,)), plan, None, None)
            finally:
                self._count_sent(exchange, plan.amount)

    async def _run(
        self,
        exchange: Exchange,
        delivery: Transfer | Relay,
        plan: Plan,
        reservation: Reservation | None,
        caps: Caps | None,
    ) -> None:
        """Send a plan, which may take a while. The reserved bytes are leased until the delivery ends."""
        client = self._clients.begin(exchange)
        held = None
        try:
            if caps is not None and not exchange.begun:
                held = await self._limits.begin(exchange.token_id, delivery, caps)
            self._transfers.begin(exchange, delivery)
            self._count(DOWNLOADS_RUNNING)
            try:
                if reservation is not None:
                    reservation.lease_to(delivery, plan)
                await delivery.run(plan)
            finally:
                self._count(DOWNLOADS_RUNNING, -1)
                self._transfers.end(delivery)
                if held is not None:
                    held.end()
        finally:
            self._clients.end(client)

    def _count_sent(self, exchange: Exchange, amount: int) -> None:
        """Count what was sent of a file. amount: bytes that the answer promised, or 0."""
        exchange.whole = exchange.sent == amount
        if amount and exchange.whole:
            self._add_file(exchange.sent)
        elif amount:
            self._count(DOWNLOADS_STARTED)
            self._count(DOWNLOADS_ABORTED)
            self._count(BYTES_SENT, exchange.sent)


async def _check_object(
    exchange: Exchange, storage: Storage, blob: ObjectBlob, representation: Representation, plan: Plan
) -> Plan:
    """Return the plan for an object of a bucket, or one that redirects the client to the bucket.

    Where the gateway itself reads no byte of the object, the storage is asked whether it still holds the
    published object. Some requests are answered here although the storage redirects, because the storage
    would answer them differently. These are requests of several ranges, for which S3 sends the whole object,
    and conditions on our ETag, which S3 does not know.
    """
    fields, etag = exchange.headers, representation.file.etag
    ranges = exchange.range or ",".join(fields.getall(hdrs.RANGE, ()))
    redirects = (
        storage.redirects
        and bool(plan.segments)
        and "," not in ranges
        and hdrs.IF_MATCH not in fields
        and fields.get(hdrs.IF_RANGE, etag) == etag
    )
    if redirects or not plan.segments:
        await in_task(blob.check())
    if not redirects:
        return plan
    location = storage.handoff(representation.file, representation.type, representation.disposition)
    return plan if location is None else plan_redirect(location, plan_range(ranges, representation).amount)
