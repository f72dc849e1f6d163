"""Google Cloud Storage's XML API as far as it differs from S3's, with every fault of `Upstream`.

https://cloud.google.com/storage/docs/xml-api/reference-headers: an object's version is its generation.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs
from xml.sax.saxutils import escape

from tests.support.faulty_bucket import BUCKET, Asked, Fault, Pattern, Upstream


class Google(Upstream):
    """The server. `table` is how the settings name it."""

    def table(self, **changes: Any) -> dict[str, Any]:
        return {
            "type": "gs",
            "bucket": BUCKET,
            "endpoint": f"http://127.0.0.1:{self.port}",
            "anonymous": True,
            **changes,
        }

    def _decide(
        self, asked: Asked, fault: Fault
    ) -> tuple[int, dict[str, str], bytes | Pattern, tuple[int, int]]:
        if asked.target.startswith(f"/{BUCKET}?list-type=2"):
            body = self._listing(parse_qs(asked.target.partition("?")[2]).get("prefix", [""])[0])
            return 200, {"Content-Length": str(len(body))}, body, (0, len(body))
        asked = replace(asked, target=asked.target.replace("?generation=", "?versionId="))
        status, fields, content, span = super()._decide(asked, fault)
        if "x-amz-version-id" in fields:
            fields["x-goog-generation"] = fields.pop("x-amz-version-id")
        return status, fields, content, span

    def _listing(self, prefix: str) -> bytes:
        found = "".join(
            f"<Contents><Key>{escape(key)}</Key><Size>{len(stored.content)}</Size><ETag>{stored.etag}</ETag>"
            "<LastModified>2026-11-24T10:00:00.000Z</LastModified></Contents>"
            for key, stored in sorted(self.objects.items())
            if key.startswith(prefix)
        )
        head = "<?xml version='1.0' encoding='UTF-8'?><ListBucketResult>"
        return f"{head}<IsTruncated>false</IsTruncated>{found}</ListBucketResult>".encode()
