"""What a real download manager does, from the worker to the database: one download, completed once."""

from __future__ import annotations

import asyncio
import hashlib
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import select

from gateway.database.engine import Database
from gateway.database.tables import CUSTOMER, ENTITLEMENT, LINK
from gateway.database.usage_tables import DOWNLOAD, USAGE_DAY
from gateway.secrets import token_id
from gateway.tokens.repositories import Repositories
from gateway.usage.applying import EventReader
from tests.support.plane import Plane
from tests.support.programs import need
from tests.support.store_server import StoreServer
from tests.support.timing import patience

SIZE = 48 * 2**20
CUSTOMER_ID, ENTITLEMENT_ID = "c" * 26, "e" * 26


async def entitle(database: Database, *tokens: str) -> None:
    """Write down that these tokens came from one entitlement."""
    async with database.writing() as sql:
        await sql.execute(CUSTOMER.insert().values(id=CUSTOMER_ID, created=1))
        values = {
            "id": ENTITLEMENT_ID,
            "customer_id": CUSTOMER_ID,
            "product_id": "p",
            "scope": "all",
            "bought": 1,
            "base": {},
            "quantity": 1,
            "status": "active",
            "reasons": [],
            "enforced": "active",
        }
        await sql.execute(ENTITLEMENT.insert().values(**values, created=1, updated=1))
        for token in tokens:
            row = {"token_id": token_id(token), "entitlement_id": ENTITLEMENT_ID, "version": "1"}
            await sql.execute(LINK.insert().values(**row, created=1, expires=2))


def aria2(plane: Plane, token: str, folder: Path, *options: str) -> subprocess.Popen[bytes]:
    url = f"http://127.0.0.1:{plane.address[1]}/download/{token}/kit.bin"
    command = [
        "aria2c",
        "-x8",
        "-s8",
        "-k1M",
        "--no-conf",
        "-q",
        "--auto-file-renaming=false",
        "--file-allocation=none",
        "-c",
    ]
    return subprocess.Popen([*command, *options, "-d", str(folder), "-o", "kit.bin", url])


@pytest.mark.slow
async def test_parallel_parts_an_abort_and_a_resume_under_a_fresh_token_are_one_download(
    make_plane: Callable[..., Plane], own_store: StoreServer, database: Database, tmp_path: Path
) -> None:
    """With a HEAD before, and two workers. Bytes that arrived twice are counted as bytes, and as nothing
    else."""
    need("aria2c")
    plane = make_plane(workers=2)
    content = os.urandom(SIZE)
    published = plane.publish(content, names=["kit.bin"])
    first, second = plane.token(published), plane.token(published)
    await entitle(database, first, second)
    assert plane.get(f"/download/{first}/kit.bin", method="HEAD").status == 200
    running = aria2(plane, first, tmp_path, "--max-overall-download-limit=8M")
    file = tmp_path / "kit.bin"
    async with asyncio.timeout(patience(30)):
        while not file.exists() or file.stat().st_blocks * 512 < SIZE // 4:
            assert running.poll() is None
            await asyncio.sleep(0.05)
    running.terminate()
    await asyncio.to_thread(running.wait)
    assert await asyncio.to_thread(aria2(plane, second, tmp_path).wait) == 0
    assert hashlib.sha256(file.read_bytes()).digest() == hashlib.sha256(content).digest()
    async with Repositories.connect(own_store.url, 10) as repos:
        reader = EventReader(database, repos.client)
        async with asyncio.timeout(patience(20)):
            while True:
                await reader.apply_some()
                async with database.reading() as sql:
                    rows = list(await sql.execute(select(DOWNLOAD)))
                    days = list(await sql.execute(select(USAGE_DAY)))
                if rows and rows[0].completed is not None:
                    break
                await asyncio.sleep(0.1)
        [download] = rows
    assert download.covered == SIZE
    assert download.bytes >= SIZE
    assert download.times >= 9
    assert download.customer == CUSTOMER_ID
    assert sum(day.started for day in days) == sum(day.completed for day in days) == 1
    assert {day.client for day in days} == {"aria2"}
