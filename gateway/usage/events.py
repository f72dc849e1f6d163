"""Events of usage, and the form in which a worker sends many of them at once. Pure.

A *batch* is what a worker sends: at most MAX_EVENTS events, whose numbers follow each other. Its bytes are

    DGU1      4 bytes
    length    of the head, 4 bytes, little-endian as all numbers are
    head      JSON: worker, first (the number of the first event), count, base (microseconds since 1970 UTC),
              the method, and the texts that events share, to which columns refer by their place:
              files [[product, version, name, size, sha256], …], clients, agents;
              spans {place of the event: [[start, stop], …]}, for answers with the status 206; others are 200
    columns   one after the other, each with a value for every event: see COLUMNS

So the worker makes a batch by a few calls for all its events, instead of some for each.
An event has no number of its own in there: it is `first` and its place. Worker and number name an event for
ever, because the name of a worker is random, made anew at each start.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from itertools import count
from typing import Any, Final, NamedTuple

MAX_EVENTS: Final = 1000
"""Events of one batch: about 60 KB."""
MAX_BATCH_BYTES: Final = 16 * 2**20
"""No batch is longer: 1000 events of 256 spans, and as many different texts, are shorter by half."""
MICROSECONDS: Final = 1_000_000
MAGIC: Final = b"DGU1"
_LENGTH: Final = struct.Struct("<I")

COLUMNS: Final = (
    ("file", "H"),
    ("client", "H"),
    ("agent", "H"),
    ("sent", "Q"),  # bytes of the file
    ("started", "d"),  # seconds since `base`
    ("lasted", "d"),  # seconds
)
"""The columns after the tokens' ids, which are 16 bytes each."""


class FileOfVersion(NamedTuple):
    """One file of a version, which is what is downloaded. size: bytes. sha256: hex digits."""

    product: str
    version: str
    name: str
    size: int
    sha256: str


class Event(NamedTuple):
    """What one request sent.

    worker, number: its name. token: the token's id. spans: what was sent of the file, in the order in which
    it was, each as start and stop. sent: its bytes. whole: all that was asked for was sent. started, ended:
    microseconds since 1970 UTC by the clock of the worker's machine.
    """

    worker: str
    number: int
    token: str
    file: FileOfVersion
    spans: tuple[tuple[int, int], ...]
    sent: int
    status: int
    whole: bool
    method: str
    started: int
    ended: int
    client: str
    agent: str


class BadBatch(ValueError):
    """Bytes that are no batch. The text says why, without quoting any of them."""


def number_texts(values: Sequence[Any]) -> tuple[list[Any], list[int]]:
    """The different ones of some values, and for each value its place among them."""
    places = dict(zip(dict.fromkeys(values), count(), strict=False))
    return list(places), [*map(places.__getitem__, values)]


def encode_batch(head: Mapping[str, Any], tokens: Sequence[str], columns: Sequence[Sequence[float]]) -> bytes:
    """Make the bytes of a batch. tokens: ids. columns: as COLUMNS names them."""
    text = json.dumps(head, separators=(",", ":")).encode()
    number = len(tokens)
    packed = [
        struct.pack(f"<{number}{kind}", *column) for (_, kind), column in zip(COLUMNS, columns, strict=True)
    ]
    return b"".join((MAGIC, _LENGTH.pack(len(text)), text, bytes.fromhex("".join(tokens)), *packed))


def decode_batch(data: bytes) -> list[Event]:
    """Read a batch. Raises BadBatch."""
    try:
        return _decode(data)
    except BadBatch:
        raise
    except (
        ValueError,
        TypeError,
        KeyError,
        IndexError,
        AttributeError,
        RecursionError,
        struct.error,
        OverflowError,
    ):
        raise BadBatch("a batch of usage is damaged") from None


def _decode(data: bytes) -> list[Event]:
    if data[:4] != MAGIC:
        raise BadBatch("a batch of usage is of another version, or none")
    [length] = _LENGTH.unpack_from(data, 4)
    start = 8 + length
    head = json.loads(data[8:start])
    worker, first, number, base = (head[name] for name in ("worker", "first", "count", "base"))
    if not (type(worker) is str and all(type(one) is int and one >= 0 for one in (first, number, base))):
        raise BadBatch("a batch of usage has a wrong head")
    if number > MAX_EVENTS:
        raise BadBatch("a batch of usage has too many events")
    ids = data[start : start + 16 * number].hex()
    start += 16 * number
    columns = []
    for _, kind in COLUMNS:
        values = struct.unpack_from(f"<{number}{kind}", data, start)
        start += struct.calcsize(f"<{number}{kind}")
        columns.append(values)
    if start != len(data):
        raise BadBatch("a batch of usage is longer than its events")
    files = [_read_file(file) for file in head["files"]]
    clients, agents, method = head["clients"], head["agents"], head["method"]
    if not all(type(text) is str for text in (*clients, *agents, method)):
        raise BadBatch("a batch of usage has a wrong head")
    asked = {int(place): spans for place, spans in head.get("spans", {}).items()}
    events = []
    for place, row in enumerate(zip(*columns, strict=True)):
        file, client, agent, sent, started, lasted = row
        spans = asked.get(place)
        planned = ((0, files[file].size),) if spans is None else spans
        found = delivered(planned, sent, files[file].size)
        began = base + int(started * MICROSECONDS)
        ended = base + int((started + lasted) * MICROSECONDS)
        events.append(
            Event(
                worker,
                first + place,
                ids[32 * place : 32 * place + 32],
                files[file],
                found,
                sent,
                200 if spans is None else 206,
                sent == sum(stop - start for start, stop in planned),
                method,
                began,
                max(began, ended),
                clients[client],
                agents[agent],
            )
        )
    return events


def _read_file(values: Any) -> FileOfVersion:
    product, version, name, size, sha256 = values
    if not (
        type(size) is int
        and size >= 0
        and all(type(text) is str for text in (product, version, name, sha256))
    ):
        raise BadBatch("a batch of usage names a wrong file")
    return FileOfVersion(product, version, name, size, sha256)


def delivered(spans: Sequence[Sequence[int]], sent: int, size: int) -> tuple[tuple[int, int], ...]:
    """The beginning of `spans` that has `sent` bytes: they are sent in their order. Raises BadBatch."""
    found = []
    for start, stop in spans:
        if not 0 <= start <= stop <= size:
            raise BadBatch("a batch of usage has a span outside its file")
        end = min(stop, start + sent)
        if end > start:
            found.append((start, end))
            sent -= end - start
    return tuple(found)
