"""A bucket, as the settings describe it: where it is, how it is addressed, and where its keys come from.

Values only: nothing here connects, and the AWS libraries are not imported before credentials are searched
for.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote, urlsplit

from gateway.storage.s3.credentials import CredentialSource, find_credentials

if TYPE_CHECKING:
    from gateway.config.storages import S3Settings

DEFAULT_PORTS: Final = {"http": 80, "https": 443}


@dataclass(frozen=True)
class Bucket:
    """One `[storage.NAME]` of type s3.

    host, port, tls: where to connect; with virtual addressing, `host` already begins with the name of the
    bucket. path: what comes before a key in the path of a URL, not yet quoted, beginning and ending with "/":
    "/" alone or "/BUCKET/", then `prefix`, which is that of the settings. connections: how many one worker
    may open.
    connect_timeout, read_timeout, redirect_ttl: in seconds. ca_file: certificates of a private authority.
    verify: whether certificates are checked. redirect: whether clients are sent to the bucket itself.
    """

    name: str
    bucket: str
    host: str
    port: int
    tls: bool
    path: str
    region: str
    connections: int
    connect_timeout: float
    read_timeout: float
    prefix: str = ""
    ca_file: Path | None = None
    verify: bool = True
    redirect: bool = False
    redirect_ttl: int = 300
    credentials: Callable[[], CredentialSource] = field(kw_only=True, repr=False)

    @property
    def scheme(self) -> str:
        """The scheme of its URLs."""
        return "https" if self.tls else "http"

    @property
    def authority(self) -> str:
        """Host and port as in a URL and in the field `Host`; the default port is left out.

        The zone of an IPv6 address has a meaning on this machine only, so it is left out too (RFC 6874).
        """
        host = f"[{self.host.partition('%')[0]}]" if ":" in self.host else self.host
        return host if self.port == DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def listing_path(self) -> str:
        """The path of the bucket itself, not yet quoted."""
        return self.path.removesuffix(self.prefix).rstrip("/") or "/"


def make_bucket(name: str, table: S3Settings) -> Bucket:
    """Make the bucket that a table of the settings describes.

    Its `credentials` are searched for at the first request, and are the same source for all requests.
    """
    url = urlsplit(table.endpoint or aws_endpoint(table.region))
    assert url.hostname is not None  # the settings make sure of it
    host = unquote(url.hostname) if ":" in url.hostname else url.hostname  # a zone is written as %25eth0
    path = unquote(url.path).rstrip("/") + "/"
    if is_virtual(table):
        host = f"{table.bucket}.{host}"
    else:
        path += f"{table.bucket}/"
    return Bucket(
        name=name,
        bucket=table.bucket,
        host=host,
        port=url.port or DEFAULT_PORTS[url.scheme],
        tls=url.scheme == "https",
        path=path + table.prefix,
        region=table.region,
        connections=table.connections,
        connect_timeout=table.connect_timeout,
        read_timeout=table.read_timeout,
        prefix=table.prefix,
        ca_file=table.ca_file,
        verify=table.verify,
        redirect=table.delivery == "redirect",
        redirect_ttl=table.redirect_ttl,
        credentials=functools.cache(lambda: find_credentials(name, table)),
    )


def aws_endpoint(region: str) -> str:
    """Return the endpoint of AWS in a region; China has a domain of its own."""
    return f"https://s3.{region}.amazonaws.com{'.cn' if region.startswith('cn-') else ''}"


def is_virtual(table: S3Settings) -> bool:
    """Whether requests name the bucket in the host.

    With `addressing = "auto"` they do at AWS, unless the bucket's name has a dot: the certificate of *.HOST
    is valid for one label only (RFC 9525 section 6.3).
    """
    if table.addressing == "auto":
        return table.endpoint is None and "." not in table.bucket
    return table.addressing == "virtual"
