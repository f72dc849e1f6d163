"""A bucket from its settings: where it is, how it is addressed, and where its keys come from."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from gateway.storage.s3.bucket import Bucket, CredentialSource

if TYPE_CHECKING:
    from gateway.config.storages import S3Settings

_PORTS = {"http": 80, "https": 443}


def make_bucket(name: str, table: S3Settings) -> Bucket:
    """Resolve the endpoint. `credentials` is asked at the first request, and gives the same source always."""
    url = urlsplit(table.endpoint or aws_endpoint(table.region))
    assert url.hostname is not None  # the settings see to it
    host = f"[{url.hostname}]" if ":" in url.hostname else url.hostname
    path = unquote(url.path).rstrip("/") + "/"
    if is_virtual(table):
        host = f"{table.bucket}.{host}"
    else:
        path += f"{table.bucket}/"
    return Bucket(
        name=name,
        bucket=table.bucket,
        host=host,
        port=url.port or _PORTS[url.scheme],
        tls=url.scheme == "https",
        path=path + table.prefix,
        region=table.region,
        connections=table.connections,
        connect_timeout=table.connect_timeout,
        read_timeout=table.read_timeout,
        ca_file=table.ca_file,
        verify=table.verify,
        redirect=table.delivery == "redirect",
        redirect_ttl=table.redirect_ttl,
        credentials=functools.cache(lambda: _credentials(name, table)),
    )


def aws_endpoint(region: str) -> str:
    """Where AWS serves S3 in a region; China is a partition of its own."""
    return f"https://s3.{region}.amazonaws.com{'.cn' if region.startswith('cn-') else ''}"


def is_virtual(table: S3Settings) -> bool:
    """Whether requests name the bucket in the host.

    Not for a name with a dot: the certificate of *.HOST is good for one label only (RFC 9525 section 6.3).
    """
    if table.addressing == "auto":
        return table.endpoint is None and "." not in table.bucket
    return table.addressing == "virtual"


def _credentials(name: str, table: S3Settings) -> CredentialSource:
    from gateway.storage.s3.credentials import find_credentials  # noqa: PLC0415 - botocore is slow to import

    return find_credentials(name, table)
