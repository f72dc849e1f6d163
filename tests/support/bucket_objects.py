"""Objects of any size, and requests for them as they come to the storage of faulty_bucket.py."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any


class Pattern:
    """Content of any size that takes no memory; each 64 KiB differ from the next."""

    def __init__(self, size: int, seed: int = 0) -> None:
        self.size = size
        self._block = hashlib.shake_128(str(seed).encode()).digest(1_000_003)

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, span: slice) -> bytes:
        start, stop, _ = span.indices(self.size)
        pieces = []
        while start < stop:
            offset = start % len(self._block)
            pieces.append(self._block[offset : offset + stop - start])
            start += len(pieces[-1])
        return b"".join(pieces)


@dataclass
class Stored:
    """One object."""

    content: bytes | Pattern
    etag: str
    modified: int
    version: str = ""


@dataclass(frozen=True)
class Asked:
    """One request, as it came."""

    method: str
    target: str
    fields: dict[str, str]

    @property
    def range(self) -> str:
        return self.fields.get("range", "")


def read_request(reader: Any) -> Asked | None:
    words = reader.readline().decode("latin-1").split(" ")
    if len(words) != 3 or not words[2].startswith("HTTP/1."):
        return None
    method, target, _ = words
    fields = {}
    while (line := reader.readline().decode("latin-1").strip()) != "":
        name, _, value = line.partition(":")
        fields[name.lower()] = value.strip()
    return Asked(method, target, fields)
