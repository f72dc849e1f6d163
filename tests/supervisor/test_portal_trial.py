"""What `up` says about the customers' pages, and the demo customer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from gateway.config.settings import Settings
from gateway.database.engine import Database
from gateway.database.tables import CUSTOMER_EMAIL, ENTITLEMENT, ORDER
from gateway.supervisor.portal_trial import DEMO_ADDRESS, buy_demo, describe_portal, has_demo_customer
from tests.support.databases import Databases, url_of


def made(**values: Any) -> Settings:
    return Settings.model_validate({"listen": "127.0.0.1:8080", "data": "/srv/data", **values})


@pytest.mark.parametrize(
    ("values", "is_demo", "texts", "others"),
    [
        ({}, True, ("http://127.0.0.1:8080/my", DEMO_ADDRESS, "/srv/data/mail"), ("entitlement add",)),
        ({}, False, ("entitlement add EMAIL PRODUCT", "/srv/data/mail"), (DEMO_ADDRESS,)),
        ({"mail_url": "smtp://mail.example"}, True, ("entitlement add",), (DEMO_ADDRESS, "/srv/data/mail")),
        ({"public_url": "https://shop.example"}, True, ("https://shop.example/my",), ("127.0.0.1",)),
    ],
)
def test_what_up_says(
    values: dict[str, Any], is_demo: bool, texts: tuple[str, ...], others: tuple[str, ...]
) -> None:
    said = "\n".join(describe_portal(made(**values), [], is_demo=is_demo))
    assert all(text in said for text in texts)
    assert not any(text in said for text in others)
    assert has_demo_customer(made(**values), is_demo=is_demo) == (DEMO_ADDRESS in said)


async def test_the_demo_customer_buys_once_however_often_up_starts(
    databases: Databases, tmp_path: Path
) -> None:
    location = await databases.make()
    settings = made(database_url=url_of(location), data=str(tmp_path))
    for _ in range(2):
        await buy_demo(settings, "demo.bin")
    async with Database.of(location) as database, database.reading() as sql:
        assert [row.test for row in await sql.execute(select(ORDER.c.test))] == [True]
        assert [each for (each,) in await sql.execute(select(ENTITLEMENT.c.product_id))] == ["demo.bin"]
        assert [each for (each,) in await sql.execute(select(CUSTOMER_EMAIL.c.email))] == [DEMO_ADDRESS]
    await databases.remove(location)
