"""What botocore's exceptions mean: the one place where the S3 catalog turns them into ours.

Each becomes a StorageError of one line that says what to do. Of botocore's own texts only error codes are
passed on: some of the texts quote URLs, and the message of a service may quote keys.
"""

from __future__ import annotations

from typing import Any, Final

from gateway.errors import StorageError
from gateway.storage.catalog import ObjectMissing
from gateway.storage.s3.bucket import Bucket
from gateway.storage.s3.credentials import explain_no_keys

_KEY_ERRORS: Final = {
    "InvalidAccessKeyId": "does not know the access key",
    "SignatureDoesNotMatch": "does not accept the secret key",
    "ExpiredToken": "says that the keys have expired",
    "ExpiredTokenException": "says that the keys have expired",
    "InvalidToken": "does not accept the session token",
    "TokenRefreshRequired": "says that the keys have expired",
}
"""Codes about the keys themselves: https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html."""


def translate(error: Exception, bucket: Bucket, key: str | None = None) -> StorageError:
    """Return the StorageError to raise instead of an exception of botocore.

    key: the object that was asked for; None for the bucket itself.
    """
    from botocore import exceptions  # noqa: PLC0415 - imported already, since it raised the error

    prefix = f"storage {bucket.name}: "
    if isinstance(error, StorageError):
        return error
    if isinstance(error, exceptions.ClientError):
        text = prefix + _explain_response(error.response, bucket, key)
        is_missing = key is not None and _status(error.response) == 404
        return ObjectMissing(text) if is_missing else StorageError(text)
    if isinstance(error, exceptions.SSLError):
        return StorageError(
            f"{prefix}{bucket.host} shows a certificate that is not trusted: "
            f"set storage.{bucket.name}.ca_file to the authority's certificates"
        )
    if isinstance(error, exceptions.ConnectionError | exceptions.HTTPClientError):
        return StorageError(
            f"{prefix}{bucket.host} port {bucket.port} cannot be reached ({type(error).__name__}): "
            f"correct storage.{bucket.name}.endpoint, or check the network and the firewall"
        )
    return StorageError(prefix + explain_no_keys(bucket.name, error))


def _explain_response(response: dict[str, Any], bucket: Bucket, key: str | None) -> str:
    status = _status(response)
    code = str(response.get("Error", {}).get("Code", ""))
    what = f"bucket {bucket.bucket!r}" if key is None else repr(key)
    region = explain_wrong_region(response, bucket)
    if region:
        return region
    if status in (301, 307) or code == "AuthorizationHeaderMalformed":
        return f"{what} is elsewhere: correct storage.{bucket.name}.region or endpoint"
    if code in _KEY_ERRORS:
        return f"{bucket.host} {_KEY_ERRORS[code]}: correct the keys of the storage"
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


def explain_wrong_region(response: dict[str, Any], bucket: Bucket) -> str:
    """Say which region to set if the answer names another one than the settings, else return ""."""
    fields = response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    region = fields.get("x-amz-bucket-region") or response.get("Error", {}).get("Region") or bucket.region
    if region == bucket.region:
        return ""
    return f'bucket {bucket.bucket!r} is in another region: set storage.{bucket.name}.region = "{region}"'
