"""The demo product: one file that compresses as badly as real downloads, and is the same on every machine."""

from __future__ import annotations

import os
import random
from pathlib import Path
from typing import Final

from gateway.errors import GatewayError
from gateway.runtime.system_errors import describe

DEMO_NAME: Final = "demo.bin"
DEMO_BYTES: Final = 64 << 20
"""Large enough that a person can abort and resume its download."""

CHUNK_BYTES: Final = 1 << 20


def make_demo(data: Path) -> Path:
    """Write the demo file below the data folder, unless it is there; return its path. Raises GatewayError."""
    path = data / "demo" / DEMO_NAME
    fresh = path.with_name(f"{DEMO_NAME}.{os.getpid()}.new")
    source = random.Random(DEMO_NAME)  # noqa: S311 - no secret
    try:
        if path.exists() and path.stat().st_size == DEMO_BYTES:
            return path
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with fresh.open("wb") as file:
            for _ in range(DEMO_BYTES // CHUNK_BYTES):
                file.write(source.randbytes(CHUNK_BYTES))
        fresh.replace(path)
    except OSError as error:
        fresh.unlink(missing_ok=True)
        raise GatewayError(
            f"the demo file {path} cannot be written ({describe(error)}): "
            "make room or choose another folder with --data"
        ) from None
    return path
