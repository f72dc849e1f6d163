"""Answers `/auth`: a front proxy asks whether its client may have a file, and then sends the file itself.

Only a trusted proxy is answered, because the answer names storages and keys. For anybody else `/auth` is not
there, whatever the request is.

The bytes that the proxy will send are charged and never refunded, because nobody reports what the client
receives. A proxy cannot send an object of a bucket. The answer then describes no file, as for an index, and
the proxy passes the request on, so that `download.py` answers and charges it.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final
from urllib.parse import quote

from aiohttp import hdrs

from gateway.dataplane.attempt_guard import AttemptGuard
from gateway.dataplane.exchange import Exchange
from gateway.dataplane.fast_path import FastPath
from gateway.dataplane.resolve import ResolvedIndex, Resolver
from gateway.dataplane.token_limits import TokenLimits
from gateway.errors import BAD_REQUEST, METHOD_NOT_ALLOWED, NOT_FOUND, Refused
from gateway.http.client_address import TrustedProxies
from gateway.http.forward_auth import NGINX, Original, permission_head, read_original
from gateway.http.plans import Representation
from gateway.http.ranges import most_bytes
from gateway.http.request_tokens import request_token
from gateway.http.targets import TargetKind, read_target
from gateway.manifest import ManifestFile
from gateway.secrets import token_id
from gateway.tokens.claims import Claims, TokenRead, opened_manifest

_METHODS: Final = frozenset(("GET", "HEAD"))
FIELDS_KEPT: Final = 1024
"""For how many files the fields are kept that a front proxy needs: with the longest keys they take 16 MiB."""


class Authorisation:
    """Answers the questions of front proxies. accel_prefixes: how X-Accel-Redirect begins, by storage."""

    def __init__(
        self,
        claims: Claims,
        resolver: Resolver,
        proxies: TrustedProxies,
        accel_prefixes: dict[str, str],
        fast_path: FastPath,
        guard: AttemptGuard,
        limits: TokenLimits,
    ) -> None:
        self._claims = claims
        self._resolver = resolver
        self._proxies = proxies
        self._accel_prefixes = accel_prefixes
        self._fast_path = fast_path
        self._guard = guard
        self._limits = limits
        self._file_fields = lru_cache(maxsize=FIELDS_KEPT)(self._describe)

    async def answer(self, exchange: Exchange, command: TokenRead | None = None) -> None:
        """Answer the question of a front proxy. Raises the errors that `ending.py` turns into refusals.

        command: the command that reads the token, if it has been sent already.
        """
        self.check_peer(exchange)
        if exchange.original:
            original = Original(NGINX, "GET", exchange.original)
        else:
            original = read_original(exchange.method, exchange.target, exchange.headers)
        exchange.dialect = original.dialect
        fields = await self._charge(exchange, original, command)
        exchange.respond(200, permission_head(exchange.token_id) + fields)

    def check_peer(self, exchange: Exchange) -> None:
        """Raise Refused(NOT_FOUND) unless the peer is a trusted proxy."""
        if not self._proxies.trusts(exchange.connection.peer):
            raise Refused(NOT_FOUND)

    async def _charge(self, exchange: Exchange, original: Original, command: TokenRead | None) -> bytes:
        """Check and charge the original request; return the fields that tell the proxy what to send, if any.

        Only the spans of a Range are charged, each as often as it is asked for. But the whole file is charged
        when the proxy may evaluate If-Range differently.
        """
        if original.disputed:
            raise Refused(BAD_REQUEST, "The fields of two front proxies name different requests.")
        if original.method not in _METHODS:
            raise Refused(METHOD_NOT_ALLOWED)
        target = read_target(original.target)
        token = exchange.asked_token
        if target.kind is TargetKind.OTHER:
            raise Refused(NOT_FOUND)
        if command is None:
            authorization = exchange.headers.getall(hdrs.AUTHORIZATION, ())
            token = request_token(target.token, authorization, target.file)
            exchange.token_id = token_id(token)
            self._guard.check(exchange)
            command = self._claims.read_token(exchange.token_id)
        exchange.trace.step("claim")
        reply = await command
        digest = opened_manifest(reply)
        self._guard.note_valid(exchange.token_id)
        caps = self._limits.of(reply.caps)
        if caps is not None:
            await self._limits.check_client(exchange, token, caps, binds=original.method == "GET")
        exchange.trace.step("resolve")
        resolved = await self._resolver.resolve(digest, target.file)
        if isinstance(resolved, ResolvedIndex):
            return b""
        number, representation, storage, blob = resolved
        with blob:
            if blob.as_object is not None:
                return b""
            fields = self._file_fields(representation)
            if blob.as_file is not None and target.file in (None, representation.file.name):
                key = (digest, target.file or "")
                self._fast_path.keep_permission(key, fields, storage, representation, blob.as_file)
        if reply.limit is not None and original.method == "GET":
            amount = _charged_bytes(exchange, representation)
            if amount:
                exchange.trace.step("reserve")
                await self._claims.claim(exchange.token_id, number, amount, representation.file.size)
        return fields

    def _describe(self, representation: Representation) -> bytes:
        """Return the fields that a front proxy needs to send a file."""
        file = representation.file
        prefix = self._accel_prefixes.get(file.storage) or f"/_protected/{file.storage}/"
        path = quote(file.key.encode("utf-8", "surrogateescape"))
        return (
            f"X-Gateway-File: {prefix}{path}\r\n{_unquoted_location(file)}"
            f"X-Gateway-Type: {representation.type}\r\nETag: {representation.etag}\r\n"
            f"Content-Disposition: {representation.disposition}\r\n"
        ).encode()


def _unquoted_location(file: ManifestFile) -> str:
    """Return the fields that say where the file is, not percent-encoded: nginx cannot decode a field's value.

    Return an empty text for a key that a header field cannot hold as it is.
    """
    if not file.key.isprintable() or file.key.strip() != file.key:
        return ""
    return f"X-Gateway-Storage: {file.storage}\r\nX-Gateway-Key: {file.key}\r\n"


def _charged_bytes(exchange: Exchange, representation: Representation) -> int:
    """Return how many bytes of the file the proxy may send for this request."""
    size = representation.file.size
    ranges = (exchange.range,) if exchange.range else exchange.headers.getall(hdrs.RANGE, ())
    if len(ranges) != 1 or hdrs.IF_RANGE in exchange.headers:
        return size
    return most_bytes(ranges[0], size)
