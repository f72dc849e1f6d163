"""What botocore's errors mean for whoever runs the gateway: one line each that says how to mend it.

No text of botocore's is passed on but codes: some quote URLs, and a service's message may quote keys.
"""

from __future__ import annotations

from typing import Any, Final

from gateway.errors import StorageError
from gateway.storage.catalog import ObjectMissing
from gateway.storage.s3.bucket import Bucket

_KEYS: Final = {
    "InvalidAccessKeyId": "does not know the access key",
    "SignatureDoesNotMatch": "does not accept the secret key",
    "ExpiredToken": "says that the keys have expired",
    "ExpiredTokenException": "says that the keys have expired",
    "InvalidToken": "does not accept the session token",
    "TokenRefreshRequired": "says that the keys have expired",
}
"""Codes about the keys themselves: https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html."""


def translate(error: Exception, bucket: Bucket, key: str | None = None) -> StorageError:
    """Make the StorageError for what botocore raised. key: the object asked for, None for the bucket."""
    from botocore import exceptions  # noqa: PLC0415 - who has such an error has it imported

    place = f"storage {bucket.name}: "
    if isinstance(error, StorageError):
        return error
    if isinstance(error, exceptions.ClientError):
        told = place + _tell_answer(error.response, bucket, key)
        missing = key is not None and _status(error.response) == 404
        return ObjectMissing(told) if missing else StorageError(told)
    if isinstance(error, exceptions.SSLError):
        mend = f"set storage.{bucket.name}.ca_file to the authority's certificates"
        return StorageError(f"{place}{bucket.host} shows a certificate that is not trusted: {mend}")
    if isinstance(error, exceptions.ConnectionError | exceptions.HTTPClientError):
        mend = f"correct storage.{bucket.name}.endpoint, or see network and firewall"
        what = f"{bucket.host} port {bucket.port} cannot be reached ({type(error).__name__})"
        return StorageError(f"{place}{what}: {mend}")
    from gateway.storage.s3.credentials import tell_credentials  # noqa: PLC0415

    return StorageError(place + tell_credentials(bucket.name, error))


def _tell_answer(response: dict[str, Any], bucket: Bucket, key: str | None) -> str:
    status = _status(response)
    code = str(response.get("Error", {}).get("Code", ""))
    what = f"bucket {bucket.bucket!r}" if key is None else repr(key)
    region = wrong_region(response, bucket)
    if region:
        return region
    if status in (301, 307) or code == "AuthorizationHeaderMalformed":
        return f"{what} is elsewhere: correct storage.{bucket.name}.region or endpoint"
    if code in _KEYS:
        return f"{bucket.host} {_KEYS[code]}: correct the keys of the storage"
    if code == "RequestTimeTooSkewed":
        return f"{bucket.host} says that this machine's clock is wrong: set it"
    if status == 404 and (key is None or code == "NoSuchBucket"):
        return (
            f"there is no bucket {bucket.bucket!r} at {bucket.host}: correct the storage's bucket or endpoint"
        )
    if status == 404:
        return f"{what} does not exist"
    if status == 403:
        return f"access to {what} is denied: the keys need s3:GetObject on it, and s3:ListBucket to list"
    if status == 412:
        return f"{what} has changed"
    return f"{bucket.host} answers {status or 'an error'}{f' {code}' if code.isalnum() else ''} for {what}"


def _status(response: dict[str, Any]) -> int:
    return int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def wrong_region(response: dict[str, Any], bucket: Bucket) -> str:
    """Say so when the answer names another region than the settings, else ""."""
    fields = response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    region = fields.get("x-amz-bucket-region") or response.get("Error", {}).get("Region") or bucket.region
    if region == bucket.region:
        return ""
    return f'bucket {bucket.bucket!r} is in another region: set storage.{bucket.name}.region = "{region}"'
