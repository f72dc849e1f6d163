"""*Products* in the dashboard: made, listed with downloads, shown, changed, described."""

from __future__ import annotations

import csv
import io
import re

import pytest

from gateway.catalogue.catalogue import Catalogue
from gateway.config.settings import Settings
from gateway.database.types import now
from gateway.usage.queries import DAY_MS
from tests.support.control_plane import Api, manifest
from tests.support.dashboard import Visitor, open_database_of
from tests.support.usage import add_days

NAUGHTY = "<img src=x onerror=alert(1)>\"'&\u202e"


async def downloads(
    settings: Settings, product: str, started: int, completed: int, days_ago: int = 0
) -> None:
    """Some downloads of version 1.0.0."""
    async with open_database_of(settings) as database, database.writing() as sql:
        day = now() // DAY_MS - days_ago
        await add_days(
            sql, [(day, product, "1.0.0", "curl", "completed", started, completed, started * 2048)]
        )


async def test_the_list_has_the_downloads_of_thirty_days(
    api: Api, owner: Visitor, settings: Settings
) -> None:
    await downloads(settings, "drums", 1234, 1000)
    await downloads(settings, "drums", 500, 500, days_ago=30)
    page = await owner.get("/products")
    assert page.status == 200
    assert "1,234" in page.text
    assert "1,734" not in page.text
    found = await owner.get("/products.csv")
    [row] = csv.DictReader(io.StringIO(found.text))
    assert (row["id"], row["versions"], row["started"], row["completed"]) == ("drums", "2", "1234", "1000")


async def test_the_list_is_filtered(api: Api, owner: Visitor) -> None:
    assert "drums" in (await owner.get("/products?q=DRU")).text
    assert "Nothing here fits" in (await owner.get("/products?q=bass")).text
    assert "Nothing here fits" in (await owner.get("/products?status=archived")).text
    assert "Nothing here fits" in (await owner.get("/products?status=no")).text


async def test_a_product_is_made_renamed_archived_and_put_on_sale_again(api: Api, owner: Visitor) -> None:
    page = await owner.send("/new-product", productId="bass", name="Deep Bass")
    assert "Now publish its files" in page.notice
    assert "Publish the first version" in page.text
    page = await owner.send("/products/bass", name="Deeper Bass")
    assert "Deeper Bass" in page.text
    page = await owner.send("/products/bass", status="archived")
    assert "Archived" in page.text
    page = await owner.send("/products/bass", status="active")
    assert "Put it on sale" not in page.text
    changes = [(each.by, each.action) for each in await api.store.audit.latest(4)]
    assert changes == [("maria", "product.update")] * 3 + [("maria", "product.create")]


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"productId": "", "name": "x"}, "productId"),
        ({"productId": "a/b", "name": ""}, "must"),
        ({"productId": "drums", "name": ""}, "exists"),
        ({"productId": "ok", "name": "x" * 5000}, "must"),
    ],
)
async def test_a_product_that_cannot_be_is_refused_beside_its_field(
    api: Api, owner: Visitor, fields: dict[str, str], text: str
) -> None:
    answer = await owner.post("/new-product", **fields)
    assert answer.status == 422
    assert text in answer.text
    assert 'class="fault"' in answer.text or 'role="alert"' in answer.text


async def test_a_product_shows_its_versions_and_files(api: Api, owner: Visitor) -> None:
    page = await owner.get("/products/drums")
    assert page.status == 200
    for text in ("1.0.0", "2.0.0", "file 0.bin", "file 1.bin", "100 B", "2 files", "Active"):
        assert text in page.text.replace("\xa0", " ")


async def test_the_active_version_is_switched(api: Api, owner: Visitor) -> None:
    page = await owner.send("/products/drums", activeVersion="2.0.0")
    assert page.notice == "New links get version 2.0.0 from now on."
    assert (await api.store.products.get("drums")).active == "2.0.0"  # type: ignore[union-attr]
    page = await owner.send("/products/drums", activeVersion="9")
    assert "9" in page.notice
    assert (await api.store.products.get("drums")).active == "2.0.0"  # type: ignore[union-attr]


async def test_notes_are_written_shown_as_text_and_removed(api: Api, owner: Visitor) -> None:
    page = await owner.send("/products/drums/versions/1.0.0", notes=f"First line\r\n{NAUGHTY}")
    assert "saved" in page.notice
    assert "<img" not in page.text
    assert "First line\n&lt;img" in page.text
    page = await owner.send("/products/drums/versions/1.0.0", notes="")
    assert "First line" not in page.text
    page = await owner.send("/products/drums/versions/7", notes="x")
    assert "7" in page.notice


@pytest.mark.parametrize("path", ["/products/none", "/products/a%00b", "/products/..%2f..", "/products/%ff"])
async def test_an_unknown_product_is_not_found(api: Api, owner: Visitor, path: str) -> None:
    assert (await owner.get(path)).status == 404


async def test_what_a_seller_writes_is_text(api: Api, owner: Visitor) -> None:
    await owner.send("/products/drums", name=NAUGHTY)
    for path in ("/products", "/products/drums", "/products/drums/token", "/products/drums/publish"):
        page = await owner.get(path)
        assert page.status == 200
        assert "<img" not in page.text
        assert "\u202e" not in re.sub(r'value="[^"]*"', "", page.text), "only its own field has it"


@pytest.mark.slow
async def test_many_versions_are_on_several_pages(api: Api, owner: Visitor, settings: Settings) -> None:
    async with open_database_of(settings) as database:
        catalogue = Catalogue(database, api.store)
        for number in range(7):
            await catalogue.register(manifest("many", f"1.{number}", *[10 + number] * 40))
    first = await owner.get("/products/many")
    assert 'id="notes-5"' in first.text
    assert 'id="notes-6"' not in first.text
    assert "?skip=5" in first.text
    assert len(first.text) < 60_000
    second = await owner.get("/products/many?skip=5")
    assert 'id="notes-2"' in second.text
    assert 'id="notes-3"' not in second.text
    for skip in ("x", "-1", "99999999999", "50"):
        assert (await owner.get(f"/products/many?skip={skip}")).status == 200
