"""A storage behind the cache: in the test's own process, or read by another."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from dataclasses import asdict
from pathlib import Path

from gateway.storage.cache.slice_files import SLICE_BYTES
from gateway.storage.cache.slices import SliceCache
from gateway.storage.cache.storage import CachedStorage
from gateway.storage.interface import ObjectBlob
from gateway.storage.s3.storage import S3Storage
from tests.support.faulty_bucket import Upstream
from tests.support.waiting import until

MIB = 1024 * 1024


class Rig:
    """A storage behind the cache, and what was counted."""

    def __init__(self, upstream: Upstream, path: Path, max_bytes: int = 256 * MIB) -> None:
        self.counts: Counter[int] = Counter()
        self.upstream = upstream
        self.path = path
        self.origin = S3Storage(upstream.bucket(), self.count)
        self.cache = SliceCache(path, max_bytes, self.count)
        self.storage = CachedStorage(self.origin, self.cache)

    def count(self, index: int, by: int = 1) -> None:
        self.counts[index] += by

    def blob(self, key: str) -> ObjectBlob:
        blob = self.storage.lookup(self.upstream.entry(key))
        assert blob is not None
        assert blob.as_object is not None
        return blob.as_object

    async def read(self, key: str, start: int, stop: int) -> bytes:
        return b"".join([piece async for piece in self.blob(key).chunks(start, stop)])

    async def settled(self) -> None:
        """Wait until no slice is being fetched, and threads have removed the files of those that failed.

        Readers are served before that.
        """
        await until(lambda: not self.cache._tasks and not list(self.path.glob("??/*.part")))

    def slices(self) -> list[Path]:
        return sorted(path for path in self.path.glob("??/*") if path.suffix != ".part")


READER = """
import asyncio, hashlib, json, sys
from pathlib import Path
from gateway.manifest import ManifestFile
from gateway.storage.cache import fetching, storage as cached
from gateway.storage.cache.storage import CachedStorage
from gateway.storage.s3.bucket import Bucket
from gateway.storage.s3.credentials import Credentials
from gateway.storage.s3.storage import S3Storage
from gateway.storage.cache.slices import SliceCache

fetching.PATIENCE_SECONDS = 60  # on a busy machine, too, nobody reads past the cache

class Anonymous:
    def now(self): return Credentials("", "")
    def fetch(self, refused=None): return Credentials("", "")

path, max_bytes, clients, cached.SLICE_BYTES, bucket, files = json.loads(sys.argv[1])
count = lambda index, by=1: None
bucket = Bucket(**bucket, credentials=Anonymous)
files = [ManifestFile(**file) for file in files]

async def read(storage):
    digest = hashlib.sha256()
    for file in files:
        async for piece in storage.lookup(file).chunks(0, file.size):
            digest.update(piece)
    return digest.hexdigest()

async def main():
    storage = CachedStorage(S3Storage(bucket, count), SliceCache(Path(path), max_bytes, count))
    print("ready", flush=True)
    sys.stdin.readline()
    print(json.dumps(sorted(set(await asyncio.gather(*(read(storage) for _ in range(clients)))))), flush=True)

asyncio.run(main())
"""


class Reader:
    """A process of its own that reads objects through the cache, for several clients at once.

    keys: those of the objects, one letter each, which are read in this order.
    """

    def __init__(
        self,
        upstream: Upstream,
        path: Path,
        keys: str,
        clients: int = 1,
        max_bytes: int = 2**31,
        slice_bytes: int = SLICE_BYTES,
    ) -> None:
        bucket = {name: value for name, value in vars(upstream.bucket()).items() if name != "credentials"}
        files = [asdict(upstream.entry(key)) for key in keys]
        arguments = json.dumps([str(path), max_bytes, clients, slice_bytes, bucket, files])
        self.process = subprocess.Popen(
            [sys.executable, "-c", READER, arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.stdin, self.stdout = self.process.stdin, self.process.stdout
        assert self.stdout.readline() == "ready\n"

    def go(self) -> None:
        self.stdin.write("\n")
        self.stdin.flush()

    def digests(self) -> list[str]:
        """What each client got."""
        line = self.stdout.readline()
        self.close()
        found: list[str] = json.loads(line)
        return found

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self.stdin.close()
        self.stdout.close()
