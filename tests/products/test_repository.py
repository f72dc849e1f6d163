"""Products and versions, against a real store."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace

import pytest

from gateway.errors import Declined
from gateway.manifest import Manifest, ManifestFile
from gateway.tokens.repositories import Repositories
from tests.support.repositories import manifest


async def test_the_first_version_becomes_active(repos: Repositories) -> None:
    first = await repos.products.register(manifest("p", "1"), name="Drums")
    assert (first.id, first.name, first.status, first.active) == ("p", "Drums", "active", "1")
    assert (await repos.products.register(manifest("p", "2", 5))).active == "1"
    third = await repos.products.register(manifest("p", "3", 6), activate=True)
    assert (third.active, third.name, sorted(third.versions)) == ("3", "Drums", ["1", "2", "3"])
    assert await repos.products.get_manifest(third.versions["2"]) == manifest("p", "2", 5)
    assert await repos.products.list_all() == [third]


async def test_a_version_never_changes(repos: Repositories) -> None:
    before = await repos.products.register(manifest("p", "1"))
    assert await repos.products.register(manifest("p", "1")) == before
    with pytest.raises(Declined, match="never changes") as error:
        await repos.products.register(manifest("p", "1", 101))
    assert error.value.code == "version_conflict"
    assert await repos.products.get("p") == before


async def test_racing_registrations_agree(repos: Repositories) -> None:
    wanted = [manifest("p", "1", size) for size in range(1, 20)]
    answers = await asyncio.gather(*(repos.products.register(one) for one in wanted), return_exceptions=True)
    assert sum(not isinstance(answer, Declined) for answer in answers) == 1


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        (Manifest("", "1", manifest("p", "1").files), "product"),
        (Manifest("a/b", "1", manifest("p", "1").files), "product"),
        (Manifest("p", ".1", manifest("p", "1").files), "version"),
        (Manifest("p", "1", ()), "files"),
        (Manifest("p", "1", manifest("p", "1").files * 2), "files[1].name"),
        (Manifest("p", "1", manifest("p", "1").files * 10_001), "files"),
        (manifest("p", "1", 1, -1), "files[1].size"),
        (manifest("p", "1", 2**53), "files[0].size"),
        (manifest("p", "1", sha256="0" * 63), "files[0].sha256"),
        (manifest("p", "1", sha256="A" * 64), "files[0].sha256"),
    ],
)
async def test_wrong_manifests_are_declined(repos: Repositories, wrong: Manifest, field: str) -> None:
    with pytest.raises(Declined) as error:
        await repos.products.register(wrong)
    assert (error.value.code, error.value.faults[0][0]) == ("invalid", field)
    assert await repos.client.call("DBSIZE") == 0


@pytest.mark.parametrize(
    ("name", "good"),
    [("..", False), ("a/../b", False), ("./a", False), ("a/.b/..c/d..", True), ("...", True)],
)
async def test_names_that_no_link_can_carry_are_declined(repos: Repositories, name: str, good: bool) -> None:
    plain = manifest("p", "1")
    named = replace(plain, files=(replace(plain.files[0], name=name),))
    if good:
        await repos.products.register(named)
        return
    with pytest.raises(Declined) as error:
        await repos.products.register(named)
    [(field, message)] = error.value.faults
    assert (field, "clients take those out of a link" in message) == ("files[0].name", True)


@pytest.mark.parametrize(
    ("name", "good"),
    [
        ("a", True),
        ('weird: "quotes"; \r\n ../ 🎹', True),
        ("é" * 512, True),
        ("", False),
        ("a\0", False),
        ("é" * 513, False),
        ("\ud800", False),
    ],
)
async def test_names_of_files_are_checked(repos: Repositories, name: str, good: bool) -> None:
    one = Manifest("p", "1", (ManifestFile(name, 1, "a/b", "0" * 64, "0" * 8, "main", "k", 7),))
    if good:
        product = await repos.products.register(one)
        assert await repos.products.get_manifest(product.versions["1"]) == one
    else:
        with pytest.raises(Declined, match=r"files\[0\].name"):
            await repos.products.register(one)


async def test_products_are_created_and_changed(repos: Repositories) -> None:
    made = await repos.products.create("p", "Drums")
    assert (made.name, made.active, made.versions) == ("Drums", None, {})
    assert abs(made.created / 1000 - time.time()) < 60
    with pytest.raises(Declined, match="exists"):
        await repos.products.create("p")
    with pytest.raises(Declined, match="no product q"):
        await repos.products.update("q", name="x")
    with pytest.raises(Declined, match="no product q"):
        await repos.products.register(manifest("q", "1"), create=False)
    with pytest.raises(Declined, match="no version 9"):
        await repos.products.update("p", name="never", active="9")
    await repos.products.register(manifest("p", "1"))
    changed = await repos.products.update("p", name="New", status="archived", active="1")
    assert (changed.name, changed.status, changed.active) == ("New", "archived", "1")
    with pytest.raises(Declined, match="archived"):
        await repos.tokens.create("p")
