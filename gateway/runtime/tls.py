"""The TLS certificate of `listen`."""

from __future__ import annotations

import ssl
from pathlib import Path

from gateway.errors import ConfigurationError
from gateway.runtime.system_errors import advise


def server_context(cert: Path | None, key: Path | None) -> ssl.SSLContext | None:
    """Make a context for TLS 1.2 and 1.3 from a PEM certificate chain and its key; None without one.

    Raises ConfigurationError when the files cannot be read or do not belong together.
    """
    if cert is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(cert, key)
    except ssl.SSLError:
        files = cert if key is None else f"{cert} and {key}"
        raise ConfigurationError(
            [f"tls_cert, tls_key: {files}: no PEM certificate chain with the private key that belongs to it"]
        ) from None
    except OSError as error:
        raise ConfigurationError([f"tls_cert, tls_key: {cert}, {key}: {advise(error)}"]) from None
    return context
