"""The bucket: one fast HTTP server from which every contestant reads the same objects.

nginx serving the folder of files as S3 does with path addressing: GET and HEAD, Range, If-Match, an ETag of
its own. It does not look at signatures, which makes it faster than any real bucket; so what is measured is
the gateway or the proxy before it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.testbed.nginx import Config, start_nginx
from bench.testbed.processes import Crew, Program

STORAGE: Final = "bucket"
"""The gateway's name for it, and the bucket's own."""

_LISTING: Final = f"<ListBucketResult><Name>{STORAGE}</Name><KeyCount>0</KeyCount></ListBucketResult>"
"""Answered to ListObjectsV2, by which publishing sees that the bucket is there. It lists nothing."""

_LOCATIONS: Final = f"""
        location = /{STORAGE} {{ default_type application/xml; return 200 "{_LISTING}"; }}
        location /{STORAGE}/ {{ alias $files/; }}
"""


@dataclass(frozen=True)
class Bucket:
    """The bucket that runs."""

    program: Program
    port: int

    @property
    def authority(self) -> str:
        """Host and port."""
        return f"127.0.0.1:{self.port}"

    @property
    def settings(self) -> dict[str, str]:
        """The gateway's settings for it, by their names in the environment."""
        table = {
            "type": "s3",
            "bucket": STORAGE,
            "endpoint": f"http://{self.authority}",
            "access_key": "bench",
            "secret_key": "not looked at",
        }
        return {f"GATEWAY_STORAGE__{STORAGE.upper()}__{name.upper()}": text for name, text in table.items()}


def start_bucket(files: Path, *, folder: Path, crew: Crew, cpus: tuple[int, ...]) -> Bucket:
    """Serve the files as objects named as they are. Raises BenchError."""
    config = Config(_LOCATIONS, values={"files": files}, bulk=True)
    program, port = start_nginx("nginx-bucket", config, folder=folder, crew=crew, cpus=cpus)
    return Bucket(program, port)
