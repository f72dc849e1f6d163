"""The pages of purchases: what is bought is there, with versions and files, and nothing of another's."""

from __future__ import annotations

import pytest

from tests.support.portal import Portal

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_the_list_has_product_order_date_and_version(portal: Portal) -> None:
    visitor, email, purchase = await portal.buyer(number="#4711", placed_at=1_700_000_000_000)
    page = await visitor.get()
    assert page.status == 200
    assert "Epic Kit" in page.words
    assert "Order #4711" in page.words
    assert 'datetime="2023-11-14T22:13:20.000Z"' in page.text
    assert "Version 2.0" in page.words
    assert f'href="/my/purchases/{purchase}"' in page.text
    assert email in (await visitor.get("/account")).words
