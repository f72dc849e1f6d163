"""A self-signed certificate for the TLS scenarios, and clients that accept it."""

from __future__ import annotations

import ssl
import subprocess
from pathlib import Path

from bench.errors import BenchError
from bench.testbed.machine import tool_path


def make_certificate(folder: Path) -> tuple[Path, Path]:
    """Write a certificate and its key (ECDSA P-256) into a folder; returns their paths. Raises BenchError."""
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


def unverified_tls() -> ssl.SSLContext:
    """TLS for clients, without verifying the certificate: who answers is not what is measured."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
