"""AWS Signature Version 4: the fields that sign a request, and presigned URLs. Pure: the time is passed in.

It follows "Authenticating Requests (AWS Signature Version 4)" in the Amazon S3 API reference. Two things are
special to S3: the path is signed as it is sent, quoted once and with no segment removed, and a body (or its
absence) may be left out of the signature.
"""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Final
from urllib.parse import quote

from gateway.storage.s3.credentials import Credentials

UNSIGNED_PAYLOAD: Final = "UNSIGNED-PAYLOAD"
_ALGORITHM: Final = "AWS4-HMAC-SHA256"
_KEPT_KEYS: Final = 64
"""Signing keys kept in memory: there is one a day for each secret and region."""


def quote_path(path: str) -> str:
    """Quote a path as it is sent and signed: every byte but `A-Za-z0-9-._~/` as %XX, in capitals."""
    return quote(path, safe="/")


def query_of(parameters: Iterable[tuple[str, str]]) -> str:
    """Join parameters to a query in the order that is signed: they are encoded first and then sorted."""
    return "&".join(
        f"{name}={value}"
        for name, value in sorted((quote(name, safe=""), quote(value, safe="")) for name, value in parameters)
    )


def sign(
    method: str,
    path: str,
    query: str,
    fields: Mapping[str, str],
    credentials: Credentials,
    region: str,
    now: int,
    payload: str = UNSIGNED_PAYLOAD,
) -> dict[str, str]:
    """Return the fields to add to a request so that it is signed.

    path: quoted by `quote_path`. query: made by `query_of`. fields: those to sign, with names in lower case;
    `host` has to be among them. now: seconds since 1970. payload: the SHA-256 of the body in hex, if the body
    is to be signed.
    """
    stamp = _stamp(now)
    added = {"x-amz-content-sha256": payload, "x-amz-date": stamp}
    if credentials.session_token:
        added["x-amz-security-token"] = credentials.session_token
    signed = {**fields, **added}
    names = ";".join(sorted(signed))
    signature = _signature(method, path, query, signed, names, payload, credentials, region, stamp)
    scope = _scope(stamp, region)
    added["authorization"] = (
        f"{_ALGORITHM} Credential={credentials.access_key}/{scope},"
        f"SignedHeaders={names},Signature={signature}"
    )
    return added


def presign(
    method: str,
    path: str,
    parameters: Iterable[tuple[str, str]],
    host: str,
    credentials: Credentials,
    region: str,
    now: int,
    lifetime: int,
) -> str:
    """Return path and query of a request that anyone may make for `lifetime` seconds, without more fields.

    path, now: as for `sign`. host: the value of the field `Host`. parameters: the others of the query.
    """
    stamp = _stamp(now)
    signing = [
        ("X-Amz-Algorithm", _ALGORITHM),
        ("X-Amz-Credential", f"{credentials.access_key}/{_scope(stamp, region)}"),
        ("X-Amz-Date", stamp),
        ("X-Amz-Expires", str(lifetime)),
        ("X-Amz-SignedHeaders", "host"),
    ]
    if credentials.session_token:
        signing.append(("X-Amz-Security-Token", credentials.session_token))
    query = query_of([*parameters, *signing])
    signature = _signature(
        method, path, query, {"host": host}, "host", UNSIGNED_PAYLOAD, credentials, region, stamp
    )
    return f"{path}?{query}&X-Amz-Signature={signature}"


def _signature(
    method: str,
    path: str,
    query: str,
    fields: Mapping[str, str],
    names: str,
    payload: str,
    credentials: Credentials,
    region: str,
    stamp: str,
) -> str:
    listed = "".join(f"{name}:{' '.join(fields[name].split())}\n" for name in sorted(fields))
    request = f"{method}\n{path}\n{query}\n{listed}\n{names}\n{payload}"
    digest = hashlib.sha256(request.encode()).hexdigest()
    text = f"{_ALGORITHM}\n{stamp}\n{_scope(stamp, region)}\n{digest}"
    return hmac.digest(_signing_key(credentials.secret_key, stamp[:8], region), text.encode(), "sha256").hex()


@lru_cache(_KEPT_KEYS)
def _signing_key(secret: str, day: str, region: str) -> bytes:
    """Derive the key of one day, region and service, in four rounds that all requests of the day share."""
    key = f"AWS4{secret}".encode()
    for part in (day, region, "s3", "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    return key


def _scope(stamp: str, region: str) -> str:
    return f"{stamp[:8]}/{region}/s3/aws4_request"


@lru_cache(4)
def _stamp(now: int) -> str:
    return time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now))
