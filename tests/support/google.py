"""Google Cloud Storage's XML API as far as it differs from S3's, with every fault of `Upstream`.

https://cloud.google.com/storage/docs/xml-api/reference-headers: an object's version is its generation.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tests.support.bucket_faults import Fault
from tests.support.bucket_objects import Asked, Pattern
from tests.support.faulty_bucket import BUCKET, Upstream


class Google(Upstream):
    """The server. `table` is how the settings name it."""

    def table(self, **changes: Any) -> dict[str, Any]:
        return {
            "type": "gs",
            "bucket": BUCKET,
            "endpoint": self.endpoint,
            "anonymous": True,
            **changes,
        }

    def _decide(
        self, asked: Asked, fault: Fault
    ) -> tuple[int, dict[str, str], bytes | Pattern, tuple[int, int]]:
        asked = replace(asked, target=asked.target.replace("?generation=", "?versionId="))
        status, fields, content, span = super()._decide(asked, fault)
        if "x-amz-version-id" in fields:
            fields["x-goog-generation"] = fields.pop("x-amz-version-id")
        return status, fields, content, span
