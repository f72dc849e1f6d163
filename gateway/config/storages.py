"""The `[storage.NAME]` tables: what a storage of each type is told, declared once.

A new type is a class here with its row in StorageSettings and STORAGE_TYPES, and a row in
`storage/registry.py` that says how it is built. `load` in settings.py reads the tables.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from typing import Annotated, Any, Final, Literal, Self, TypeAlias

from pydantic import BaseModel, ConfigDict, Discriminator, Tag, model_validator

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
"""What a shell is told to install for the types gs and az."""
MAX_PRESIGNED: Final = 7 * 86_400
"""Seconds a presigned URL may live: `X-Amz-Expires` is at most 604800, says AWS' Signature Version 4."""


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class LocalSettings(_Table):
    """Files in a folder of this machine."""

    type: Literal["local"] = setting("local", "A folder on this machine.")
    root: AbsolutePath = needed(
        "The folder that holds the files. Nothing outside it is ever served.", unit="path"
    )
    accel_prefix: AccelPrefix = setting(
        "", "The internal location that the front proxy maps to `root`.", default_text="/_protected/NAME/"
    )


class S3Settings(_Table):
    """Objects in a bucket of AWS S3 or of another service that speaks its protocol."""

    type: Literal["s3"] = setting(
        "s3", "A bucket of AWS S3, or of any service that speaks its protocol.", default_text='needed: `"s3"`'
    )
    bucket: BucketName = needed("The bucket's name.")
    endpoint: Endpoint = setting(
        None, "The service's URL, without the bucket.", unit="URL", default_text="AWS, in `region`"
    )
    region: Text = setting(AWS_REGION, "The bucket's region, as requests are signed for it.")
    prefix: Prefix = setting("", "A folder in the bucket: keys begin below it, and nothing else is served.")
    addressing: Annotated[Literal["auto", "path", "virtual"], one_of("auto", "path", "virtual")] = setting(
        "auto",
        "Where requests name the bucket: path (https://HOST/BUCKET/), virtual (https://BUCKET.HOST/), or "
        "auto: path when an `endpoint` is given or the name has a dot, else virtual.",
    )
    access_key: Secret = setting(
        None,
        "The access key's id. Without it the keys are looked for as AWS' own tools do: in the environment, "
        "in `profile`, by web identity, in the container's or the machine's metadata.",
        default_text="none",
        repr=False,
    )
    secret_key: Secret = setting(None, "The secret of `access_key`.", default_text="none", repr=False)
    session_token: Secret = setting(
        None, "The session token, where `access_key` is a temporary one.", default_text="none", repr=False
    )
    profile: Text | None = setting(
        None, "The profile in ~/.aws that has the keys.", default_text="$AWS_PROFILE, else default"
    )
    connections: Annotated[int, whole(1, 100_000)] = setting(
        1000,
        "Connections to the service at once; every running download needs one.",
        unit="connections a worker",
    )
    connect_timeout: Seconds = setting(5.0, "How long connecting may take.", unit="seconds")
    read_timeout: Seconds = setting(
        30.0, "How long the service may send nothing before the rest is asked for anew.", unit="seconds"
    )
    ca_file: AbsolutePath | None = setting(
        None, "The certificates (PEM) to trust for https.", unit="path", default_text="the system's"
    )
    verify: Switch = setting(True, "Whether the service's certificate is checked; false is for trials only.")
    delivery: Annotated[Literal["stream", "redirect"], one_of("stream", "redirect")] = setting(
        "stream",
        "stream: the gateway sends the bytes. redirect: the client is sent to a short-lived URL of the "
        "service, and metered by what was granted.",
    )
    redirect_ttl: WholeSeconds = setting(
        300, "How long such a URL works; a download that has begun goes on.", unit="seconds"
    )

    @model_validator(mode="after")
    def _check_together(self) -> S3Settings:
        faults = []
        if (self.access_key is None) is not (self.secret_key is None):
            faults.append("needs both access_key and secret_key, or neither")
        if self.session_token is not None and self.access_key is None:
            faults.append("has a session_token of no use without access_key and secret_key")
        if self.redirect_ttl > MAX_PRESIGNED:
            faults.append(
                f"has a redirect_ttl of more than {MAX_PRESIGNED} s, which is as long as such URLs can live"
            )
        if self.addressing == "virtual" and not self.bucket.replace("-", "").replace(".", "").isalnum():
            faults.append('has a bucket whose name cannot be part of a host: set addressing = "path"')
        if faults:
            raise ValueError("; ".join(faults))
        return self


class _CloudTable(_Table):
    """What both clouds beside S3 have in common."""

    prefix: Prefix = setting("", "A folder in it: keys begin below it, and nothing else is served.")
    anonymous: Switch = setting(False, "Whether it is open to everybody: requests are not signed.")
    endpoint: Endpoint = setting(None, "The service's URL.", unit="URL", default_text="the cloud's own")
    connect_timeout: Seconds = setting(5.0, "How long connecting may take.", unit="seconds")
    read_timeout: Seconds = setting(
        30.0, "How long the service may send nothing before the rest is asked for anew.", unit="seconds"
    )
    ca_file: AbsolutePath | None = setting(
        None, "Certificates (PEM) to trust for https beside the system's.", unit="path", default_text="none"
    )

    @model_validator(mode="after")
    def _check_extra(self) -> Self:
        if find_spec("obstore") is None:
            raise ValueError(f"needs a library that is not installed: pip install {CLOUDS_EXTRA}")
        return self


class GoogleSettings(_CloudTable):
    """Objects in a bucket of Google Cloud Storage."""

    type: Literal["gs"] = setting("gs", f"A bucket of Google Cloud Storage; needs {CLOUDS_EXTRA}.")
    bucket: BucketName = needed("The bucket's name.")
    service_account: AbsolutePath | None = setting(
        None,
        "A service account's key file (JSON). Without it credentials are looked for as Google's own tools "
        "do: in GOOGLE_APPLICATION_CREDENTIALS, in what gcloud left behind, in the machine's metadata.",
        unit="path",
        default_text="none",
    )


class AzureSettings(_CloudTable):
    """Objects in a container of Azure Blob Storage."""

    type: Literal["az"] = setting("az", f"A container of Azure Blob Storage; needs {CLOUDS_EXTRA}.")
    account: Text = needed("The storage account's name.")
    container: BucketName = needed("The container's name.")
    account_key: Secret = setting(
        None,
        "The account's key. Without it and `sas_token` credentials are looked for in AZURE_… variables: a "
        "key, a client's secret, a workload's identity; then the machine's managed identity is asked.",
        default_text="none",
        repr=False,
    )
    sas_token: Secret = setting(
        None,
        "A shared access signature that may read (and list, to publish).",
        default_text="none",
        repr=False,
    )


CloudSettings: TypeAlias = GoogleSettings | AzureSettings


def _type_of(value: object) -> str | None:
    """The type of a table that was read, or of settings that were made; None for what is no table."""
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


def explain(place: SettingPath, detail: Any, values: Mapping[str, Any]) -> tuple[SettingPath, str]:
    """Where a fault of a storage's table is, and what it is, as a sentence for people.

    place: as pydantic has it, the table's type behind its name. values: all settings as they were given.
    """
    kind = place[2] if len(place) > 2 else DEFAULT_TYPE
    place = place[:2] + place[3:]
    match detail["type"]:
        case "value_error":
            return place, str(detail["ctx"]["error"])
        case "missing":
            return place, f"is needed in a storage of type {kind}"
        case "extra_forbidden":
            return place, _misplaced(place[-1], kind, given="type" in values[TABLES][place[1]])
        case "union_tag_invalid":
            return (*place, "type"), _no_type(values[TABLES][place[1]]["type"])
        case _ if len(place) <= 2:
            return place, 'must be a table: write [storage.NAME] and below it root = "…"'
        case _:
            return place, str(detail["msg"])


def _no_type(given: object) -> str:
    *most, last = (f'"{name}"' for name in STORAGE_TYPES)
    return f"there is no storage of type {repr(given)[:80]}: write {', '.join(most)} or {last}"


def _misplaced(name: str, kind: str, *, given: bool) -> str:
    """A field that this type has not: another type's, or nobody's."""
    others = [other for other, model in STORAGE_TYPES.items() if name in model.model_fields]
    if others:
        mend = "take it away" if given else f'set type = "{others[0]}", or take it away'
        return f"is a setting of type {' and '.join(others)}, and this storage is of type {kind}: {mend}"
    return f"there is no such setting{nearest(name, STORAGE_TYPES[kind].model_fields)}"
