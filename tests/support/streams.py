"""How tests read a stream."""

from __future__ import annotations

from gateway.storage.interface import Stream


async def rest(stream: Stream, most: int = 1 << 18) -> bytes:
    """What is left of a stream."""
    pieces = []
    buffer = memoryview(bytearray(most))
    while stream.left:
        try:
            got = stream.recv_into(buffer)
        except BlockingIOError:
            await stream.wait_readable()
            continue
        assert 0 < got <= most
        pieces.append(bytes(buffer[:got]))
    return b"".join(pieces)
