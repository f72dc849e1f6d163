"""One request, whole: read it, look the token up, claim the bytes, send them, settle.

`Downloads.answer` steps through it without a task (see deferred.py); what is decided is decided by pure
rules. A plain request asks the store at once, and ends there if its answer is ready (fast_path.py). A fault
before the head has gone is a refusal of the table; after it, the connection is broken, so that the client
knows and resumes.
"""

from __future__ import annotations

import logging
from collections.abc import Coroutine
from functools import lru_cache
from typing import Any, Final
from urllib.parse import quote

from aiohttp import hdrs

from gateway.dataplane.delivery.relay import Relay
from gateway.dataplane.delivery.transfer import Departure, Transfer, send_at_once, send_soon
from gateway.dataplane.exchange import ClientGone, Exchange
from gateway.dataplane.fast_path import GONE, FastPath, permit
from gateway.dataplane.manifest_cache import LoadedManifest, ManifestCache
from gateway.errors import (
    BAD_REQUEST,
    METHOD_NOT_ALLOWED,
    NOT_FOUND,
    STORAGE_FAILED,
    STORE_UNAVAILABLE,
    Refusal,
    Refused,
    StorageError,
    StoreUnavailable,
)
from gateway.http.fields import prefers_html
from gateway.http.forward_auth import NGINX, Original, TrustedProxies, read_original
from gateway.http.pages import index_answer
from gateway.http.plans import (
    REDIRECT,
    Plan,
    Representation,
    plan_answer,
    plan_range,
    plan_redirect,
)
from gateway.http.ranges import select_ranges
from gateway.http.targets import Target, TargetKind, bearer_token, choose_file, choose_token, read_target
from gateway.manifest import ManifestFile
from gateway.runtime.deferred import Deferred, in_task, in_thread, step
from gateway.runtime.metrics import (
    BYTES_SENT,
    DOWNLOADS_ABORTED,
    DOWNLOADS_RUNNING,
    DOWNLOADS_STARTED,
    FAULTS,
    STORAGE_ERRORS,
    STORE_ERRORS,
    Counters,
)
from gateway.secrets import token_id
from gateway.storage.interface import Blob, ObjectBlob, Storage
from gateway.storage.registry import Storages
from gateway.tokens.claims import Claims, read_grant
from gateway.tokens.leases import Leases

_log = logging.getLogger("gateway")
_METHODS: Final = frozenset(("GET", "HEAD"))
Claim = tuple[int, int, int]
"""Number of a file in its manifest, bytes of it that are reserved, and its size."""
UNCLAIMED: Final[Claim] = (0, 0, 0)
"""No byte is: the token has no limit."""


class Downloads:
    """Answers download and authorisation requests. accel_prefixes: by storage, for /auth."""

    def __init__(
        self,
        claims: Claims,
        leases: Leases,
        storages: Storages,
        editions: ManifestCache,
        proxies: TrustedProxies,
        accel_prefixes: dict[str, str],
        public_url: str,
        prompt: FastPath,
        counters: Counters,
    ) -> None:
        self._claims = claims
        self._leases = leases
        self._storages = storages
        self._editions = editions
        self._proxies = proxies
        self._accel_prefixes = accel_prefixes
        self._base = public_url
        self._prompt = prompt
        self._count = counters.add
        self._add_file = counters.add_file
        self._directions = lru_cache(maxsize=4096)(self._describe)

    def begin(self, exchange: Exchange) -> None:
        """Begin to answer one request; it is answered whatever happens. Never raises."""
        if exchange.token:
            exchange.token_id = token_id(exchange.token)
            ask_store = self._claims.look if exchange.range else self._claims.take
            ask_store(exchange.token_id).add_done_callback(self._heard, exchange)
        elif exchange.asked_token and self._proxies.trusts(exchange.connection.peer):
            exchange.token_id = token_id(exchange.asked_token)
            self._claims.look(exchange.token_id).add_done_callback(self._heard, exchange)
        else:
            step(self.answer(exchange))

    def _heard(self, word: Deferred[Any], exchange: Exchange) -> None:
        """The store has answered a plain request."""
        departure = None
        try:
            if word.value:
                departure = self._prompt.answer(exchange, word.value)
        except Exception as error:
            self._break(exchange, error)
            exchange.end()
            return
        if departure is None:
            step(self.answer(exchange, word))
        elif departure is not GONE:
            departure.add_done_callback(self._departed, exchange)

    def _departed(self, departure: Departure, exchange: Exchange) -> None:
        """A span was sent, or the beginning of it."""
        if departure.value:
            departure.blob.release()
            self._tally(exchange, exchange.sent)
            exchange.end()
        else:
            step(self._attempt(exchange, self._send_rest(departure)))

    async def _send_rest(self, departure: Departure) -> None:
        exchange, plan = departure.exchange, departure.plan()
        with departure.blob as blob:
            try:
                await departure
                await self._run(exchange, Transfer(exchange, (blob,)), plan)
            finally:
                self._tally(exchange, plan.amount)

    async def answer(self, exchange: Exchange, word: Deferred[Any] | None = None) -> None:
        """Answer one request, whatever happens. Never raises.

        word: what the store says of the token, if it was asked already.
        """
        await self._attempt(exchange, self._route(exchange, word))

    async def _attempt(self, exchange: Exchange, work: Coroutine[Deferred[Any], None, None]) -> None:
        """Do this, say what it could not do, and end the exchange."""
        try:
            try:
                await work
            except Refused as refused:
                exchange.refuse(refused.refusal, refused.detail)
            except StoreUnavailable:
                self._count(STORE_ERRORS)
                exchange.refuse(STORE_UNAVAILABLE)
            except StorageError as error:
                self._report(exchange, error)
                if not exchange.begun:
                    exchange.refuse(STORAGE_FAILED)
        except ClientGone:
            pass
        except Exception as error:
            self._break(exchange, error)
        finally:
            exchange.end()

    def _break(self, exchange: Exchange, error: Exception) -> None:
        """End a request that met a defect: the connection is broken, the worker lives."""
        self._count(FAULTS)
        _log.error("a request ended by an unexpected %s", type(error).__name__, exc_info=error)
        exchange.abort()

    async def _route(self, exchange: Exchange, word: Deferred[Any] | None) -> None:
        if exchange.token:
            await self._download(exchange, Target(TargetKind.DOWNLOAD, exchange.file or None), word)
            return
        if exchange.target == "/auth":  # what read_target would say, without its 2 µs
            await self._authorise(exchange, word)
            return
        ask = read_target(exchange.target)
        if ask.kind is TargetKind.DOWNLOAD:
            await self._download(exchange, ask)
        elif ask.kind is TargetKind.AUTH:
            await self._authorise(exchange)
        else:
            raise Refused(NOT_FOUND)

    async def _download(self, exchange: Exchange, ask: Target, word: Deferred[Any] | None = None) -> None:
        token = exchange.token or _token(ask, exchange)
        if word is None:
            exchange.token_id = token_id(token)
            word = self._claims.look(exchange.token_id)
        digest, limited, claimed = read_grant(await word)
        index: int | None = 0
        try:
            edition = self._editions.get(digest) or await self._load(digest)
            index = choose_file(edition.manifest, ask.file)
            if index is None:
                html = prefers_html(exchange.headers.get(hdrs.ACCEPT))
                exchange.respond(200, *index_answer(edition.manifest, token, html, self._base))
                return
            shown = edition.representation(index)
            storage: Storage = self._storages.get(shown.file.storage)
            blob = storage.lookup(shown.file)
            if blob is None:
                blob = await in_thread(storage.open, shown.file)
            with blob:
                if exchange.token:
                    plan = plan_range(exchange.range, shown)
                else:
                    plan = plan_answer(exchange.method, exchange.headers, shown)
                if blob.as_object is not None:
                    plan = await _consult(exchange, storage, blob.as_object, shown, plan)
                if plan.refusal is not None:
                    exchange.refuse(plan.refusal, fields=plan.head)
                    return
                if limited and plan.amount > claimed:
                    await self._claims.claim(exchange.token_id, index, plan.amount, shown.file.size)
                    claimed = plan.amount
                await self._deliver(exchange, blob, plan, (index, claimed, shown.file.size))
                if exchange.token and blob.as_file is not None:
                    self._prompt.keep_file((digest, ask.file or ""), storage, shown, blob.as_file)
                if plan.status == REDIRECT:
                    claimed = 0  # nobody will tell what the client took
        finally:
            if claimed > exchange.sent or exchange.lease is not None:
                self._settle(exchange, index or 0, claimed)

    def _settle(self, exchange: Exchange, file: int, claimed: int) -> None:
        """Give back what was claimed and not taken by the client."""
        lease, refund = exchange.lease, claimed - exchange.sent
        if lease is not None:
            self._leases.close(lease)
        if refund > 0 or (lease is not None and lease.is_known):
            self._claims.settle(exchange.token_id, file, refund, lease)

    async def _deliver(self, exchange: Exchange, blob: Blob, plan: Plan, claim: Claim) -> None:
        """Send what was planned, in the way that suits the blob."""
        file, remote = blob.as_file, blob.as_object
        try:
            if file is None and remote is not None and plan.segments:
                await self._run(exchange, Relay(exchange, (remote,)), plan, claim)
            elif file is None:
                exchange.respond(plan.status, plan.head)
            elif not send_at_once(exchange, file, plan) and not await send_soon(exchange, file, plan):
                await self._run(exchange, Transfer(exchange, (file,)), plan, claim)
        finally:
            self._tally(exchange, plan.amount if plan.segments else 0)

    async def _run(
        self, exchange: Exchange, delivery: Transfer | Relay, plan: Plan, claim: Claim = UNCLAIMED
    ) -> None:
        """Send what may take a while: what is reserved for it is leased."""
        file, amount, size = claim
        if amount:
            exchange.lease = self._leases.open(exchange.token_id, file, amount, size, delivery)
        self._count(DOWNLOADS_RUNNING)
        try:
            await delivery.run(plan)
        finally:
            self._count(DOWNLOADS_RUNNING, -1)

    async def _authorise(self, exchange: Exchange, word: Deferred[Any] | None = None) -> None:
        """Answer a front proxy's question about another request; the proxy sends the bytes."""
        trusted = self._proxies.trusts(exchange.connection.peer)
        if exchange.original and trusted:
            original = Original(NGINX, "GET", exchange.original)
        else:
            original = read_original(exchange.method, exchange.target, exchange.headers, trusted)
        try:
            fields = await self._permit(exchange, original, word)
        except (Refused, StoreUnavailable, StorageError) as error:
            refused = error if isinstance(error, Refused) else Refused(self._fault(exchange, error))
            true = refused.refusal
            told = f"X-Gateway-Status: {true.status}\r\nX-Gateway-Code: {true.code}\r\n"
            exchange.refuse(true, refused.detail, told.encode(), original.dialect.status(true.status))
            return
        exchange.respond(200, permit(exchange.token_id) + fields)

    async def _permit(self, exchange: Exchange, original: Original, word: Deferred[Any] | None) -> bytes:
        """Check and charge the request a proxy asks about; the fields that tell it what to send.

        What the proxy will send is charged, because nobody tells us what the client took: the spans of a
        Range, and the whole file when the proxy may see If-Range differently. It cannot send an object of a
        bucket: told of no file, it passes the request on, as for an index, and `_download` charges it.
        """
        if original.disputed:
            raise Refused(BAD_REQUEST, "The fields of two front proxies tell of different requests.")
        if original.method not in _METHODS:
            raise Refused(METHOD_NOT_ALLOWED)
        ask = read_target(original.target)
        if ask.kind is TargetKind.OTHER:
            raise Refused(NOT_FOUND)
        if word is None:
            exchange.token_id = token_id(_token(ask, exchange))
            word = self._claims.look(exchange.token_id)
        digest, limited, _ = read_grant(await word)
        edition = self._editions.get(digest) or await self._load(digest)
        index = choose_file(edition.manifest, ask.file)
        if index is None:
            return b""
        shown = edition.representation(index)
        storage: Storage = self._storages.get(shown.file.storage)
        blob = storage.lookup(shown.file)
        if blob is None:
            blob = await in_thread(storage.open, shown.file)
        with blob:
            if blob.as_object is not None:
                return b""
            fields = self._directions(shown)
            if blob.as_file is not None:
                self._prompt.keep_permit((digest, ask.file or ""), fields, storage, shown, blob.as_file)
        if limited and original.method == "GET":
            amount = _granted(exchange, shown)
            if amount:
                await self._claims.claim(exchange.token_id, index, amount, shown.file.size)
        return fields

    async def _load(self, digest: bytes) -> LoadedManifest:
        """Fetch a manifest that this worker has not seen, or has forgotten."""
        text = await self._claims.manifest(digest)
        try:
            return self._editions.add(digest, text)
        except ValueError as error:
            _log.error("the store holds a damaged manifest: %s", error)
            raise StoreUnavailable(f"the store holds a damaged manifest: {error}") from error

    def _describe(self, shown: Representation) -> bytes:
        """What a front proxy needs to know to send a file."""
        file = shown.file
        prefix = self._accel_prefixes.get(file.storage) or f"/_protected/{file.storage}/"
        return (
            f"X-Gateway-File: {prefix}{quote(file.key.encode('utf-8', 'surrogateescape'))}\r\n{_place(file)}"
            f"X-Gateway-Type: {shown.type}\r\nETag: {shown.etag}\r\n"
            f"Content-Disposition: {shown.disposition}\r\n"
        ).encode()

    def _tally(self, exchange: Exchange, amount: int) -> None:
        exchange.whole = exchange.sent == amount
        if amount and exchange.whole:
            self._add_file(exchange.sent)
        elif amount:
            self._count(DOWNLOADS_STARTED)
            self._count(DOWNLOADS_ABORTED)
            self._count(BYTES_SENT, exchange.sent)

    def _fault(self, exchange: Exchange, error: StoreUnavailable | StorageError) -> Refusal:
        if isinstance(error, StoreUnavailable):
            self._count(STORE_ERRORS)
            return STORE_UNAVAILABLE
        self._report(exchange, error)
        return STORAGE_FAILED

    def _report(self, exchange: Exchange, error: StorageError) -> None:
        self._count(STORAGE_ERRORS)
        _log.error("%s", error, extra={"token": exchange.token_id})
        if exchange.begun:
            exchange.abort()


def _place(file: ManifestFile) -> str:
    """Where the file is, unquoted: nginx can use a path that `auth_request` brings, but not decode it.

    Nothing for a key that a header field cannot hold as it is.
    """
    if not file.key.isprintable() or file.key.strip() != file.key:
        return ""
    return f"X-Gateway-Storage: {file.storage}\r\nX-Gateway-Key: {file.key}\r\n"


def _token(ask: Target, exchange: Exchange) -> str:
    """The request's one token, from its target or its Authorization fields."""
    fields = exchange.headers.getall(hdrs.AUTHORIZATION, ())
    if not fields:
        return choose_token(ask.token, None)
    bearers = {bearer_token(field) for field in fields} - {None}
    if len(bearers) > 1:
        raise Refused(BAD_REQUEST, "The request carries two different tokens.")
    return choose_token(ask.token, next(iter(bearers), None))


async def _consult(
    exchange: Exchange, storage: Storage, blob: ObjectBlob, shown: Representation, plan: Plan
) -> Plan:
    """The plan, once the storage has said what no reading of the object will; or one that hands it off.

    We answer what the storage would answer otherwise: several ranges, for which S3 sends the whole object,
    and conditions on our ETag, which it does not know.
    """
    fields = exchange.headers
    wanted = exchange.range or ",".join(fields.getall(hdrs.RANGE, ()))
    redirects = (
        storage.redirects
        and bool(plan.segments)
        and "," not in wanted
        and hdrs.IF_MATCH not in fields
        and fields.get(hdrs.IF_RANGE, shown.file.etag) == shown.file.etag
    )
    if redirects or not plan.segments:
        await in_task(blob.check())
    location = storage.handoff(shown.file, shown.type, shown.disposition) if redirects else None
    return plan if location is None else plan_redirect(location, plan_range(wanted, shown).amount)


def _granted(exchange: Exchange, shown: Representation) -> int:
    """Bytes the proxy may send for this request."""
    ranges = (exchange.range,) if exchange.range else exchange.headers.getall(hdrs.RANGE, ())
    if len(ranges) != 1 or hdrs.IF_RANGE in exchange.headers:
        return shown.file.size
    spans = select_ranges(ranges[0], shown.file.size)
    if spans is None:
        return shown.file.size
    return sum(span.stop - span.start for span in spans)
