"""The bucket: one fast HTTP server from which every participant reads the same objects.

It is an nginx that serves the folder of files as S3 does with path addressing: GET and HEAD, Range, If-Match,
and an ETag. It ignores signatures, which makes it faster than any real bucket, so that the gateway or the
proxy before it is what is measured.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.testbed.nginx import Config, start_nginx
from bench.testbed.processes import ProcessGroup, Program

STORAGE: Final = "bucket"
"""The storage's name in the gateway, and the bucket's own name."""

_LISTING: Final = f"<ListBucketResult><Name>{STORAGE}</Name><KeyCount>0</KeyCount></ListBucketResult>"
"""The response to ListObjectsV2, which publishing uses to see that the bucket exists. It lists nothing."""

_LOCATIONS: Final = f"""
        location = /{STORAGE} {{ default_type application/xml; return 200 "{_LISTING}"; }}
        location /{STORAGE}/ {{ alias $files/; }}
"""


@dataclass(frozen=True)
class Bucket:
    """A running bucket."""

    program: Program
    port: int

    @property
    def authority(self) -> str:
        """Host and port."""
        return f"127.0.0.1:{self.port}"

    @property
    def settings(self) -> dict[str, str]:
        """The gateway's settings for this bucket, by their names in the environment."""
        table = {
            "type": "s3",
            "bucket": STORAGE,
            "endpoint": f"http://{self.authority}",
            "access_key": "bench",
            "secret_key": "not looked at",
        }
        return {f"GATEWAY_STORAGE__{STORAGE.upper()}__{name.upper()}": text for name, text in table.items()}


def start_bucket(files: Path, *, folder: Path, processes: ProcessGroup, cpus: tuple[int, ...]) -> Bucket:
    """Serve each file as an object of the same name. Raises BenchError."""
    config = Config(_LOCATIONS, values={"files": files}, bulk=True)
    program, port = start_nginx("nginx-bucket", config, folder=folder, processes=processes, cpus=cpus)
    return Bucket(program, port)
