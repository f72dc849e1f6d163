"""Opening a socket to a storage: look up the name, try its addresses in order, shake hands over TLS."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections.abc import Callable

from gateway.runtime.system_errors import advise
from gateway.storage.proxies import proxy_hint
from gateway.storage.retries import TransientError
from gateway.storage.s3.bucket import Bucket
from gateway.storage.s3.responses import PermanentError


def make_tls_context(bucket: Bucket) -> ssl.SSLContext | None:
    """Return how certificates are checked; None for a bucket without TLS.

    Raises PermanentError when `ca_file` cannot be read.
    """
    if not bucket.tls:
        return None
    try:
        context = ssl.create_default_context(cafile=None if bucket.ca_file is None else str(bucket.ca_file))
    except OSError as error:
        raise PermanentError(f"cannot be read: ca_file {str(bucket.ca_file)!r}: {advise(error)}") from error
    context.set_alpn_protocols(["http/1.1"])
    if not bucket.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


async def open_socket(bucket: Bucket, context: ssl.SSLContext | None) -> socket.socket:
    """Open a non-blocking socket within connect_timeout; each address gets its share of that time.

    Raises TransientError, or PermanentError for a certificate that is not valid.
    """
    loop = asyncio.get_running_loop()
    server = f"{bucket.host}:{bucket.port}"
    deadline = loop.time() + bucket.connect_timeout
    try:
        async with asyncio.timeout_at(deadline):
            found = await loop.getaddrinfo(bucket.host, bucket.port, type=socket.SOCK_STREAM)
    except TimeoutError:
        raise TransientError(f"looking up {bucket.host} takes too long (connect_timeout)") from None
    except OSError as error:
        raise TransientError(f"{bucket.host} cannot be looked up: {advise(error)}{proxy_hint()}") from None
    fault = f"{bucket.host} has no address"
    for tried, (family, kind, protocol, _, address) in enumerate(found):
        share = (deadline - loop.time()) / (len(found) - tried)
        try:
            async with asyncio.timeout(share):
                return await _connect(socket.socket(family, kind, protocol), address, bucket, context)
        except TimeoutError:
            fault = f"{server} does not answer in time (connect_timeout)"
        except ssl.SSLCertVerificationError as error:
            raise PermanentError(
                f"cannot be read: the certificate of {server} is not valid ({error.verify_message}): "
                "check `ca_file` and `endpoint`"
            ) from None
        except OSError as error:
            fault = f"{server} cannot be reached: {advise(error)}"
    raise TransientError(fault + proxy_hint())


async def _connect(
    opened: socket.socket, address: object, bucket: Bucket, context: ssl.SSLContext | None
) -> socket.socket:
    """Connect the socket, and close it if that fails. Raises OSError, of which TLS errors are a kind."""
    try:
        opened.setblocking(False)
        try:
            opened.connect(address)  # type: ignore[arg-type]
        except BlockingIOError:
            await wait_writable(opened.fileno())
            failed = opened.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if failed:
                raise OSError(failed, os.strerror(failed)) from None
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        if context is not None:
            opened = context.wrap_socket(opened, server_hostname=bucket.host, do_handshake_on_connect=False)
            await _shake_hands(opened)
    except BaseException:
        opened.close()
        raise
    return opened


async def _shake_hands(opened: ssl.SSLSocket) -> None:
    while True:
        try:
            opened.do_handshake()
        except ssl.SSLWantReadError:
            await _wait_readable(opened.fileno())
        except ssl.SSLWantWriteError:
            await wait_writable(opened.fileno())
        else:
            return


async def wait_writable(fd: int) -> None:
    """Wait until the kernel takes bytes for this socket, or the socket has failed."""
    loop = asyncio.get_running_loop()
    await _wait_for(fd, loop.add_writer, loop.remove_writer)


async def _wait_readable(fd: int) -> None:
    loop = asyncio.get_running_loop()
    await _wait_for(fd, loop.add_reader, loop.remove_reader)


async def _wait_for(fd: int, add: Callable[..., None], remove: Callable[[int], bool]) -> None:
    waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    add(fd, _wake, waiter)
    try:
        await waiter
    finally:
        remove(fd)


def _wake(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)
