"""A certificate for the TLS scenarios, signed by itself, gone with the temporary folder."""

from __future__ import annotations

import subprocess
from pathlib import Path

from bench.errors import BenchError
from bench.testbed.machine import tool_path


def make_certificate(folder: Path) -> tuple[Path, Path]:
    """Certificate and key (ECDSA P-256, the usual today). Raises BenchError when openssl fails."""
    certificate, key = folder / "tls.crt", folder / "tls.key"
    command = [
        *(tool_path("openssl") or "openssl", "req", "-x509", "-nodes", "-days", "2"),
        *("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"),
        *("-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"),
        *("-keyout", str(key), "-out", str(certificate)),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BenchError(f"openssl could not make a certificate: {done.stderr.strip()}")
    return certificate, key
