"""What a publisher and the mint write, by the store's layout."""

from __future__ import annotations

import os
import time
import zlib
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import redis

from gateway.http.file_names import media_type
from gateway.manifest import Manifest, ManifestFile
from gateway.secrets import new_token, token_id
from gateway.store.key_names import token_key
from tests.support.backends import Backend


@dataclass
class Published:
    """A version in the store, its files on disk, and what they hold."""

    manifest: Manifest
    paths: list[Path]

    @property
    def file(self) -> ManifestFile:
        return self.manifest.files[0]

    @property
    def path(self) -> Path:
        return self.paths[0]

    @property
    def etag(self) -> str:
        return f'"{self.file.sha256}"'


class Publications:
    """Versions and tokens in a store. A `Plane` is one.

    store: a client of the store. files: where they are; root: their folder, if they are on this machine.
    """

    store: redis.Redis
    files: Backend
    root: Path
    _number = 0

    def publish(
        self,
        *contents: bytes,
        names: list[str] | None = None,
        sparse: int = 0,
        modified: int | None = None,
    ) -> Published:
        """A version with these files. sparse: the last file's size. modified: the time of all."""
        self._number += 1
        names = names or [f"file-{index}.bin" for index in range(len(contents))]
        files, paths = [], []
        for index, (name, content) in enumerate(zip(names, contents, strict=True)):
            key = f"{self._number}-{index}"
            path = self.root / key
            facts = self.files.put(key, content)
            size, digest = facts.size, sha256(content)
            if modified is not None:
                self.files.date(key, modified)
                facts = facts._replace(modified=modified)
            if sparse and index == len(contents) - 1:
                os.truncate(path, sparse)
                self.files.date(key, facts.modified)
                size, digest = sparse, sha256(f"sparse {sparse}".encode())
            files.append(
                ManifestFile(
                    name,
                    size,
                    media_type(name),
                    digest.hexdigest(),
                    f"{zlib.crc32(content):08x}",
                    "main",
                    key,
                    facts.modified,
                    facts.etag,
                    facts.version_id,
                )
            )
            paths.append(path)
        manifest = Manifest(f"product-{self._number}", "1.0", tuple(files))
        self.store.set(f"dg:manifest:{{{manifest.digest}}}", manifest.text)
        return Published(manifest, paths)

    def remove(self, published: Published) -> None:
        """Take a version's first file away."""
        self.files.remove(published.file.key)

    def replace(self, published: Published, content: bytes) -> None:
        """Put another file in the place of a version's first."""
        self.files.put(published.file.key, content)

    def token(
        self, published: Published, maximum: int | None = None, ttl_ms: int = 3_600_000, caps: str = ""
    ) -> str:
        """A fresh token for the version. caps: its other limits, as in tokens/caps.py."""
        token = new_token()
        key = token_key(token_id(token))
        now = time.time_ns() // 1_000_000
        values: dict[Any, str | int] = {
            "manifest": published.manifest.digest,
            "product": published.manifest.product,
            "version": published.manifest.version,
            "created": now,
            "expires": now + ttl_ms,
        }
        if maximum is not None:
            values["max"] = maximum
            if len(published.manifest.files) == 1:
                values["size"] = published.file.size
        if caps:
            values["caps"] = caps
        pipe = self.store.pipeline(transaction=True)
        pipe.hset(key, mapping=values)
        pipe.pexpireat(key, now + ttl_ms)
        pipe.execute()
        return token

    def link(self, published: Published, maximum: int | None = None) -> str:
        """A minted URL of a version's only file, with a fresh token."""
        return f"/download?token={self.token(published, maximum)}"

    def revoke(self, token: str) -> None:
        self.store.hset(token_key(token_id(token)), "revoked", time.time_ns() // 1_000_000)

    def charged(self, token: str, file: int = 0) -> int:
        token = token.partition("token=")[2] or token
        return int(self.store.hget(token_key(token_id(token)), f"charged:{file}") or 0)

    def charge(self, token: str, amount: int, file: int = 0) -> None:
        """Charge a token for bytes, as if it had received them."""
        token = token.partition("token=")[2] or token
        self.store.hincrby(token_key(token_id(token)), f"charged:{file}", amount)

    def token_fields(self, token: str) -> dict[str, str]:
        """All that the store holds of a token."""
        token = token.partition("token=")[2] or token
        fields: Any = self.store.hgetall(token_key(token_id(token)))
        return {name.decode(): value.decode() for name, value in fields.items()}
