"""A bucket of Google's or a container of Azure's, from its settings: obstore's client for it.

The client has no time-out that would end a long download.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

from obstore.store import AzureStore, GCSStore

from gateway.errors import StorageError
from gateway.storage.obstore.errors import OBSTORE_ERRORS

if TYPE_CHECKING:
    from obstore.store import AzureConfig, ClientConfig, GCSConfig, ObjectStore, RetryConfig

    from gateway.config.storages import AzureSettings, CloudSettings, GoogleSettings

FOR_EVER: Final = timedelta(days=3650)
"""For obstore's `timeout`, which limits the time of a whole response and is 30 s by default."""
NO_RETRIES: Final[RetryConfig] = {"max_retries": 0}
"""Our own budget of tries is the same for all storages: see `retries.py`."""
UNUSED_PROXY: Final = "http://127.0.0.1:9"
"""Named together with the exception of all hosts, so that the environment's proxies are not used either: that
is one rule for all clients of storages."""
ALL_HOSTS: Final = "0.0.0.0/0,::/0,*"
"""Every address, and every name."""


def make_store(name: str, table: CloudSettings) -> ObjectStore:
    """Make obstore's client, which connects at its first request.

    Call it only in a process that does not fork afterwards: the client has threads, which a fork loses.
    Raises StorageError when the credentials or certificates cannot be used.
    """
    options: ClientConfig = {
        "timeout": FOR_EVER,
        "connect_timeout": timedelta(seconds=table.connect_timeout),
        "read_timeout": timedelta(seconds=table.read_timeout),
        "allow_http": (table.endpoint or "").startswith("http:"),
        "proxy_url": UNUSED_PROXY,
        "proxy_excludes": ALL_HOSTS,
    }
    try:
        if table.ca_file is not None:
            options["root_certificate"] = table.ca_file.read_bytes()
        if table.type == "gs":
            return _google(table, options)
        return _azure(table, options)
    except OBSTORE_ERRORS as error:
        kind = type(error).__name__
        raise StorageError(
            f"storage {name}: its credentials or certificates cannot be used ({kind}): check that the files "
            "exist and can be read, and that the keys are complete"
        ) from None


def address(table: CloudSettings) -> str:
    """Return what the addresses of all its objects begin with."""
    return f"{table.type}://{table.bucket if table.type == 'gs' else table.container}/{table.prefix}"


def _google(table: GoogleSettings, options: ClientConfig) -> ObjectStore:
    # Google unpacks objects stored with Content-Encoding: gzip, and then ignores ranges, unless the client
    # accepts gzip: https://cloud.google.com/storage/docs/transcoding
    options["default_headers"] = {"accept-encoding": "gzip"}
    config: GCSConfig = {}
    if table.service_account is not None:
        config["service_account"] = str(table.service_account)
    if table.endpoint is not None:
        config["base_url"] = table.endpoint
    if table.anonymous:
        config["skip_signature"] = True
    return GCSStore(table.bucket, config=config, client_options=options, retry_config=NO_RETRIES)


def _azure(table: AzureSettings, options: ClientConfig) -> ObjectStore:
    config: AzureConfig = {"account_name": table.account}
    if table.account_key is not None:
        config["account_key"] = table.account_key
    if table.sas_token is not None:
        config["sas_key"] = table.sas_token
    if table.endpoint is not None:
        config["endpoint"] = table.endpoint
    if table.anonymous:
        config["skip_signature"] = True
    return AzureStore(table.container, config=config, client_options=options, retry_config=NO_RETRIES)
