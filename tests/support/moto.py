"""An S3 server for what Swift cannot do (moto): archive classes, versions switched on later, ETags of parts.

It checks no signatures, so everything else is tested with Swift.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from gateway.runtime.parent_death import die_with_parent
from tests.support.buckets import S3Server
from tests.support.ports import ReservedPort
from tests.support.waiting import wait_until

SMALLEST_PART = 5 << 20
"""Bytes that every part but the last must have; moto holds to it, as AWS does."""


@contextmanager
def run_moto() -> Iterator[S3Server]:
    """Run a server in a process that ends with this one. Its buckets are in its memory."""
    reserved = ReservedPort()
    server = S3Server(f"http://127.0.0.1:{reserved.number}")
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "moto.server", "-H", "127.0.0.1", "-p", str(reserved.number)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        preexec_fn=partial(die_with_parent, signal.SIGKILL, os.getpid()),  # noqa: PLW1509 - no thread yet
    )

    def answers() -> bool:
        assert process.poll() is None
        try:
            urllib.request.urlopen(server.endpoint, timeout=60).close()
        except OSError:
            return False
        return True

    try:
        wait_until(answers, "moto answers", seconds=60)
        yield server
    finally:
        process.terminate()
        process.wait(60)
        reserved.close()
