"""Azurite, Microsoft's own emulator of Azure Blob Storage: a real server that checks signatures."""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import secrets
import socket
import subprocess
import time
import urllib.request
from email.utils import formatdate
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.support.ports import ReservedPort
from tests.support.programs import need, refuse

PROGRAM = Path(__file__).parent / "node_modules/azurite/dist/src/blob/main.js"
ACCOUNT = "shop"
CONTAINER = "kits"
START_SECONDS = 30


class Azurite:
    """One account with one container, in memory, with a key of its own."""

    def __init__(self, folder: Path) -> None:
        node = need("node")
        if not PROGRAM.exists():
            refuse("azurite is not installed (npm ci --prefix tests/support/azurite)")
        self._reserved = ReservedPort()
        self.port = self._reserved.number
        self.key = base64.b64encode(secrets.token_bytes(64)).decode()
        self.endpoint = f"http://127.0.0.1:{self.port}/{ACCOUNT}"
        self._process = subprocess.Popen(
            [node, str(PROGRAM), "--inMemoryPersistence", "--extentMemoryLimit", "512", "--disableTelemetry",
             "--silent", "--skipApiVersionCheck", "--blobPort", str(self.port)],
            cwd=folder,
            env={**os.environ, "AZURITE_ACCOUNTS": f"{ACCOUNT}:{self.key}"},
            stdout=subprocess.DEVNULL,
        )  # fmt: skip
        self._wait()
        self._create()

    def table(self, **changes: Any) -> dict[str, Any]:
        """The settings of the storage."""
        return {
            "type": "az",
            "account": ACCOUNT,
            "container": CONTAINER,
            "account_key": self.key,
            "endpoint": self.endpoint,
            **changes,
        }

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()
        self._reserved.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _wait(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port)).close()
            except OSError:
                assert self._process.poll() is None, "azurite ended"
                assert time.monotonic() < deadline, "azurite did not start"
                time.sleep(0.05)
            else:
                return

    def _create(self) -> None:
        """Make the container, which obstore cannot: Create Container, signed with the account's key.

        https://learn.microsoft.com/en-us/rest/api/storageservices/authorize-with-shared-key
        """
        fields = {"x-ms-date": formatdate(usegmt=True), "x-ms-version": "2021-12-02"}
        signed = "PUT" + "\n" * 12 + "".join(f"{name}:{value}\n" for name, value in fields.items())
        signed += f"/{ACCOUNT}/{ACCOUNT}/{CONTAINER}\nrestype:container"
        digest = hmac.digest(base64.b64decode(self.key), signed.encode(), hashlib.sha256)
        fields["Authorization"] = f"SharedKey {ACCOUNT}:{base64.b64encode(digest).decode()}"
        url = f"{self.endpoint}/{CONTAINER}?restype=container"
        urllib.request.urlopen(urllib.request.Request(url, method="PUT", headers=fields)).close()
