"""The pages of workers in Chromium: the index of a version, and every refusal that a dead link may get."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.async_api import Route

from gateway.errors import TABLE
from gateway.http.pages import refusal_answer
from tests.support.browser import DESKTOP, NARROW, Screen, check_page, open_browser, open_page, take_picture
from tests.support.plane import Plane

pytestmark = pytest.mark.slow

NAMES = ["read me.txt", "loops/a very long name without any space in it 0123456789.wav", "Ünder & über.wav"]


async def answer_refusal(route: Route) -> None:
    """As a worker answers: each row of the table has its path."""
    code = route.request.url.rpartition("/")[2]
    [row] = [each for each in TABLE if each.code == code]
    head, body = refusal_answer(row, None, html=True)
    fields = dict(line.split(": ", 1) for line in head.decode("ascii").split("\r\n")[1:] if line)
    await route.fulfill(status=row.status, headers=fields, body=body)


@pytest.mark.parametrize("screen", [DESKTOP, NARROW], ids=lambda screen: str(screen.name))
async def test_the_index_and_every_refusal_can_be_used(
    make_plane: Callable[..., Plane], screen: Screen
) -> None:
    plane = make_plane()
    published = plane.publish(b"a" * 1000, b"b" * 2000, b"", names=NAMES)
    base = "http://{}:{}".format(*plane.address)
    async with open_browser() as browser, open_page(browser, base, screen) as page:
        answer = await page.goto(f"/download/{plane.token(published, 3)}/")
        assert answer is not None
        assert answer.status == 200
        assert await page.get_by_role("link").all_inner_texts() == NAMES
        await take_picture(page, f"index-{screen.name}")
        await check_page(page)
        answer = await page.goto(f"/download/ct_{'0' * 43}")
        assert answer is not None
        assert answer.status >= 400
        await take_picture(page, f"dead-link-{screen.name}")
        await check_page(page)
        await page.route("**/refusals/*", answer_refusal)
        for row in TABLE:
            answer = await page.goto(f"/refusals/{row.code}")
            assert answer is not None
            assert (answer.status, await page.title()) == (row.status, row.title)
            await check_page(page)
