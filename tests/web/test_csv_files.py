"""Tables that are sent page after page."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Iterable

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from gateway.database.errors import DatabaseError
from gateway.web.csv_files import Cells, send_csv

LOGGER = logging.getLogger("tests.csv")
Page = list[tuple[str | int | None, ...]]


async def ask(
    pages: list[Page | Exception], method: str = "GET"
) -> tuple[int, dict[str, str], bytes, list[int]]:
    """Status, fields and body of the answer, and which pages were asked for."""
    asked: list[int] = []

    async def read() -> AsyncGenerator[Iterable[Cells]]:
        for number, page in enumerate(pages):
            asked.append(number)
            if isinstance(page, Exception):
                raise page
            yield page

    async def answer(request: web.Request) -> web.StreamResponse:
        try:
            return await send_csv(request, "things", ("id", "name"), read(), LOGGER)
        except DatabaseError:
            return web.Response(status=503)

    application = web.Application()
    application.router.add_get("/", answer)
    async with (
        TestServer(application) as server,
        aiohttp.ClientSession() as session,
        session.request(method, server.make_url("/")) as response,
    ):
        return response.status, dict(response.headers), await response.read(), asked


@pytest.mark.parametrize(
    ("pages", "body"),
    [
        ([], b"id,name\r\n"),
        ([[]], b"id,name\r\n"),
        ([[(1, "a")], [], [(2, None)]], b"id,name\r\n1,a\r\n2,\r\n"),
        ([[(1, "=1+1")]], b"id,name\r\n1,'=1+1\r\n"),
    ],
)
async def test_all_pages_are_one_file(pages: list[Page | Exception], body: bytes) -> None:
    status, fields, received, asked = await ask(pages)
    assert (status, received) == (200, body)
    assert fields["Content-Disposition"] == 'attachment; filename="things.csv"'
    assert fields["Cache-Control"] == "no-store"
    assert asked == list(range(len(pages)))


async def test_a_head_has_no_body_and_reads_one_page() -> None:
    status, fields, received, asked = await ask([[(1, "a")], [(2, "b")]], "HEAD")
    assert (status, received, asked) == (200, b"", [0])
    assert fields["Content-Type"].startswith("text/csv")


async def test_what_the_first_page_raises_is_answered() -> None:
    status, _, _, asked = await ask([DatabaseError("unreachable", "it is away")])
    assert (status, asked) == (503, [0])


async def test_a_later_failure_breaks_the_connection(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(aiohttp.ClientPayloadError):
        await ask([[(1, "a")], DatabaseError("unreachable", "it is away"), [(2, "b")]])
    assert "a table was broken off: it is away" in caplog.text
