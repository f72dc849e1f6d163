"""The `[storage.NAME]` tables: the settings of each type of storage, declared once.

A new type needs a class here, with its row in StorageSettings and STORAGE_TYPES, and a row in
`storage/registry.py` that says how it is built. `load` in settings.py reads the tables.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from ipaddress import ip_address
from typing import Annotated, Any, Final, Literal, Self, TypeAlias
from urllib.parse import unquote, urlsplit

from pydantic import BaseModel, ConfigDict, Discriminator, Tag, model_validator

from gateway.config.messages import describe
from gateway.config.readers import (
    AbsolutePath,
    AccelPrefix,
    BucketName,
    Endpoint,
    Prefix,
    Seconds,
    Secret,
    Switch,
    Text,
    WholeSeconds,
    needed,
    one_of,
    setting,
    whole,
)
from gateway.config.sources import TABLES, SettingPath, nearest

DEFAULT_TYPE: Final = "local"
AWS_REGION: Final = "us-east-1"
CLOUDS_EXTRA: Final = "'download-gateway[clouds]'"
"""What pip has to install for the types gs and az, as it is written in a shell."""
MAX_PRESIGNED: Final = 7 * 86_400
"""How long a presigned URL may be valid, in seconds. `X-Amz-Expires` of AWS Signature Version 4 is at most
604800."""


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class LocalSettings(_Table):
    """Files in a folder of this machine."""

    type: Literal["local"] = setting("local", "A folder on this machine.")
    root: AbsolutePath = needed("The folder with the files. Nothing outside it is ever served.", unit="path")
    accel_prefix: AccelPrefix = setting(
        "", "The internal location that the front proxy maps to `root`.", default_text="/_protected/NAME/"
    )


class S3Settings(_Table):
    """Objects in a bucket of AWS S3 or of another service with the same protocol."""

    type: Literal["s3"] = setting(
        "s3",
        "A bucket of AWS S3, or of another service with the same protocol.",
        default_text='needed: `"s3"`',
    )
    bucket: BucketName = needed("The name of the bucket.")
    endpoint: Endpoint = setting(
        None, "The URL of the service, without the bucket.", unit="URL", default_text="AWS, in `region`"
    )
    region: Text = setting(AWS_REGION, "The region of the bucket. Requests are signed for it.")
    prefix: Prefix = setting(
        "", "A folder in the bucket. Keys begin below it, and nothing outside it is served."
    )
    addressing: Annotated[Literal["auto", "path", "virtual"], one_of("auto", "path", "virtual")] = setting(
        "auto",
        "Where requests name the bucket: path (https://HOST/BUCKET/), virtual (https://BUCKET.HOST/), or "
        "auto: path if an `endpoint` is given or the name has a dot, otherwise virtual.",
    )
    access_key: Secret = setting(
        None,
        "The id of the access key. Without it, keys are searched for as by AWS' own tools: in the "
        "environment, in `profile`, by web identity, in the metadata of the container or the machine.",
        default_text="none",
        repr=False,
    )
    secret_key: Secret = setting(None, "The secret of `access_key`.", default_text="none", repr=False)
    session_token: Secret = setting(
        None, "The session token, if `access_key` is a temporary one.", default_text="none", repr=False
    )
    anonymous: Switch = setting(
        False, "Whether everybody may read the objects. If so, requests are not signed."
    )
    profile: Text | None = setting(
        None, "The profile in ~/.aws that has the keys.", default_text="$AWS_PROFILE, else default"
    )
    connections: Annotated[int, whole(1, 100_000)] = setting(
        1000,
        "How many connections to the service may be open at once. Every running download needs one.",
        unit="connections a worker",
    )
    connect_timeout: Seconds = setting(5.0, "How long connecting may take.", unit="seconds")
    read_timeout: Seconds = setting(
        30.0, "How long the service may send nothing before the rest is requested again.", unit="seconds"
    )
    ca_file: AbsolutePath | None = setting(
        None, "The certificates (PEM) to trust for https.", unit="path", default_text="the system's"
    )
    verify: Switch = setting(
        True, "Whether the certificate of the service is checked. Use false for tests only."
    )
    delivery: Annotated[Literal["stream", "redirect"], one_of("stream", "redirect")] = setting(
        "stream",
        "stream: the gateway sends the bytes. redirect: the client is redirected to a short-lived URL of the "
        "service, and its token is charged for all bytes that it could fetch there.",
    )
    redirect_ttl: WholeSeconds = setting(
        300,
        "How long the URL of a redirect is valid. A download that has begun continues after that time.",
        unit="seconds",
    )

    @model_validator(mode="after")
    def _check_together(self) -> S3Settings:
        faults = []
        if (self.access_key is None) is not (self.secret_key is None):
            faults.append("needs both access_key and secret_key, or neither")
        if self.session_token is not None and self.access_key is None:
            faults.append("has a session_token, which has no effect without access_key and secret_key")
        if self.anonymous and (self.access_key is not None or self.profile is not None):
            faults.append("is anonymous, so access_key and profile have no effect: remove them, or anonymous")
        if self.redirect_ttl > MAX_PRESIGNED:
            faults.append(
                f"has a redirect_ttl of more than {MAX_PRESIGNED} s, the longest that such URLs can be valid"
            )
        if self.addressing == "virtual" and not self.bucket.replace("-", "").replace(".", "").isalnum():
            faults.append('has a bucket whose name cannot be part of a host: set addressing = "path"')
        if self.addressing == "virtual" and self.endpoint is not None and _is_address(self.endpoint):
            faults.append(
                'has an IP address as endpoint, which no name can be part of: set addressing = "path"'
            )
        if faults:
            raise ValueError("; ".join(faults))
        return self


def _is_address(endpoint: str) -> bool:
    """Whether the host of a URL is an IP address."""
    try:
        ip_address(unquote(urlsplit(endpoint).hostname or ""))
    except ValueError:
        return False
    return True


class _CloudTable(_Table):
    """The settings that Google Cloud Storage and Azure have in common."""

    prefix: Prefix = setting(
        "", "A folder in the bucket or container. Keys begin below it, and nothing outside it is served."
    )
    anonymous: Switch = setting(
        False, "Whether everybody may read the objects. If so, requests are not signed."
    )
    endpoint: Endpoint = setting(None, "The URL of the service.", unit="URL", default_text="the cloud's own")
    connect_timeout: Seconds = setting(5.0, "How long connecting may take.", unit="seconds")
    read_timeout: Seconds = setting(
        30.0, "How long the service may send nothing before the rest is requested again.", unit="seconds"
    )
    ca_file: AbsolutePath | None = setting(
        None,
        "Certificates (PEM) to trust for https, in addition to those of the system.",
        unit="path",
        default_text="none",
    )

    @model_validator(mode="after")
    def _check_extra(self) -> Self:
        if find_spec("obstore") is None:
            raise ValueError(f"needs a library that is not installed: pip install {CLOUDS_EXTRA}")
        return self


class GoogleSettings(_CloudTable):
    """Objects in a bucket of Google Cloud Storage."""

    type: Literal["gs"] = setting("gs", f"A bucket of Google Cloud Storage; needs {CLOUDS_EXTRA}.")
    bucket: BucketName = needed("The name of the bucket.")
    service_account: AbsolutePath | None = setting(
        None,
        "The key file (JSON) of a service account. Without it, credentials are searched for as by Google's "
        "own tools: in GOOGLE_APPLICATION_CREDENTIALS, in the files of gcloud, in the metadata of "
        "the machine.",
        unit="path",
        default_text="none",
    )


class AzureSettings(_CloudTable):
    """Objects in a container of Azure Blob Storage."""

    type: Literal["az"] = setting("az", f"A container of Azure Blob Storage; needs {CLOUDS_EXTRA}.")
    account: Text = needed("The name of the storage account.")
    container: BucketName = needed("The name of the container.")
    account_key: Secret = setting(
        None,
        "The key of the account. Without it and `sas_token`, credentials are searched for in AZURE_… "
        "variables (a key, a client secret, a workload identity), then by the managed identity of the "
        "machine.",
        default_text="none",
        repr=False,
    )
    sas_token: Secret = setting(
        None,
        "A shared access signature with the right to read (and to list, for publishing).",
        default_text="none",
        repr=False,
    )


CloudSettings: TypeAlias = GoogleSettings | AzureSettings


def _type_of(value: object) -> str | None:
    """The type of a table, given as a mapping or as settings; None for what is not a table."""
    if isinstance(value, _Table):
        return str(getattr(value, "type", ""))
    return str(value.get("type", DEFAULT_TYPE)) if isinstance(value, Mapping) else None


StorageSettings = Annotated[
    Annotated[LocalSettings, Tag("local")]
    | Annotated[S3Settings, Tag("s3")]
    | Annotated[GoogleSettings, Tag("gs")]
    | Annotated[AzureSettings, Tag("az")],
    Discriminator(_type_of),
]
STORAGE_TYPES: Final[dict[str, type[LocalSettings | S3Settings | GoogleSettings | AzureSettings]]] = {
    "local": LocalSettings,
    "s3": S3Settings,
    "gs": GoogleSettings,
    "az": AzureSettings,
}


def explain(path: SettingPath, detail: Any, values: Mapping[str, Any]) -> tuple[SettingPath, str]:
    """Return where a fault in a storage's table is, and a sentence for people that describes it.

    path: pydantic's own, which has the type of the table after its name. values: all settings as they were
    given.
    """
    kind = path[2] if len(path) > 2 else DEFAULT_TYPE
    path = path[:2] + path[3:]
    match detail["type"]:
        case "value_error":
            return path, str(detail["ctx"]["error"])
        case "missing":
            return path, f"is needed in a storage of type {kind}"
        case "extra_forbidden":
            return path, _misplaced(path[-1], kind, given="type" in values[TABLES][path[1]])
        case "union_tag_invalid":
            return (*path, "type"), _unknown_type(values[TABLES][path[1]]["type"])
        case _ if len(path) <= 2:
            return path, 'must be a table: write [storage.NAME] and below it root = "…"'
        case _:
            return path, describe(detail)


def _unknown_type(given: object) -> str:
    *most, last = (f'"{name}"' for name in STORAGE_TYPES)
    return f"there is no storage of type {repr(given)[:80]}: write {', '.join(most)} or {last}"


def _misplaced(name: str, kind: str, *, given: bool) -> str:
    """Describe a field that this type of storage does not have, but another may."""
    others = [other for other, model in STORAGE_TYPES.items() if name in model.model_fields]
    if others:
        remedy = "remove it" if given else f'set type = "{others[0]}", or remove it'
        return f"is a setting of type {' and '.join(others)}, and this storage is of type {kind}: {remedy}"
    return f"there is no such setting{nearest(name, STORAGE_TYPES[kind].model_fields)}"
