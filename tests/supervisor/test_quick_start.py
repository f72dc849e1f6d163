"""What `up` publishes: ids, versions and links, with a real store."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.config.settings import Settings
from gateway.errors import ConfigurationError
from gateway.products.demo import make_demo
from gateway.runtime.addresses import Address
from gateway.secrets import token_id
from gateway.storage.registry import Storages
from gateway.supervisor.quick_start import (
    PublishedProduct,
    describe_products,
    plan_products,
    product_id,
    publish_products,
)
from gateway.tokens.repositories import Repositories
from tests.support.shop import Shop
from tests.support.store_server import STORE_SECONDS, StoreServer


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data=tmp_path / "data", listen="127.0.0.1:8080")


async def publish(path: Path, settings: Settings, store: StoreServer) -> PublishedProduct:
    [link] = await publish_products(plan_products([path], settings.data), settings, store.url)
    return link


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("kit.zip", "kit.zip"),
        ("Épic Drums (2).zip", "epic-drums-2-.zip"),
        ("-rf .. /", "rf"),
        ("鼓.zip", "zip-a4e8f8ee"),
        ("鼓", "product-"),
        ("x" * 300, "x" * 100 + "-"),
    ],
)
def test_ids_are_made_from_names(name: str, expected: str) -> None:
    made = product_id(name)
    assert made.startswith(expected.removesuffix("a4e8f8ee"))
    assert len(made) <= 128


def test_names_that_lose_letters_stay_apart() -> None:
    assert product_id("鼓.zip") != product_id("笛.zip")


@pytest.mark.slow
async def test_unchanged_files_keep_their_version_and_changed_ones_get_the_next(
    tmp_path: Path, settings: Settings, store: StoreServer
) -> None:
    kit = tmp_path / "Kit"
    kit.mkdir()
    (kit / "a").write_bytes(b"aaa")
    (kit / "b").write_bytes(b"bbb")
    first = await publish(kit, settings, store)
    again = await publish(kit, settings, store)
    assert (first.manifest.product, first.manifest.version) == ("kit", "1")
    assert again.manifest == first.manifest
    assert again.token != first.token
    facts = (kit / "b").stat()
    (kit / "b").write_bytes(b"BBB!")
    second = await publish(kit, settings, store)
    assert second.manifest.version == "2"
    (kit / "b").write_bytes(b"bbb")
    os.utime(kit / "b", ns=(facts.st_atime_ns, facts.st_mtime_ns))
    third = await publish(kit, settings, store)
    assert third.manifest == first.manifest
    async with Repositories.connect(store.url, STORE_SECONDS) as client:
        product = await client.products.get("kit")
        assert product
        assert (product.name, product.active, sorted(product.versions)) == ("Kit", "1", ["1", "2"])
        record = await client.tokens.get(token_id(second.token))
        assert record
        assert (record.product, record.version) == ("kit", "2")


@pytest.mark.slow
async def test_an_archived_product_is_sold_again(
    tmp_path: Path, settings: Settings, store: StoreServer
) -> None:
    (tmp_path / "kit.zip").write_bytes(b"kit")
    await publish(tmp_path / "kit.zip", settings, store)
    async with Repositories.connect(store.url, STORE_SECONDS) as client:
        await client.products.update("kit.zip", status="archived")
        await publish(tmp_path / "kit.zip", settings, store)
        product = await client.products.get("kit.zip")
        assert product
        assert product.status == "active"


@pytest.mark.slow
async def test_versions_named_by_hand_are_left_alone(
    tmp_path: Path, settings: Settings, store: StoreServer
) -> None:
    (tmp_path / "kit.zip").write_bytes(b"kit")
    link = await publish(tmp_path / "kit.zip", settings, store)
    async with Repositories.connect(store.url, STORE_SECONDS) as client:
        for version in ("1.5-beta", "7"):
            files = (replace(link.manifest.files[0], name=f"{version}.zip"),)
            await client.products.register(
                replace(link.manifest, version=version, files=files), activate=True
            )
    (tmp_path / "kit.zip").write_bytes(b"changed")
    assert (await publish(tmp_path / "kit.zip", settings, store)).manifest.version == "8"


def test_the_faults_of_all_paths_are_reported_together(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "kit.zip").write_bytes(b"kit")
    paths = [
        tmp_path / "none",
        tmp_path / "a" / "kit.zip",
        tmp_path / "b" / "kit.zip",
        tmp_path / "none either",
    ]
    with pytest.raises(ConfigurationError) as caught:
        plan_products(paths, tmp_path / "data")
    assert [fault.partition(" ")[2][:8] for fault in caught.value.faults if "none" in fault]
    assert len(caught.value.faults) == 3
    assert any("would both be product kit.zip: rename one of them" in fault for fault in caught.value.faults)


def test_a_path_given_twice_is_one_product(tmp_path: Path) -> None:
    (tmp_path / "kit.zip").write_bytes(b"kit")
    assert len(plan_products([tmp_path / "kit.zip", tmp_path / "." / "kit.zip"], tmp_path / "data")) == 1


@pytest.mark.slow
async def test_objects_are_offered_as_files_are(settings: Settings, store: StoreServer, shop: Shop) -> None:
    settings = settings.model_copy(update={"storage": {"shop": shop.table()}})
    storages = Storages(settings.storage, settings.data, 4)
    shop.put("drums/kit.zip", b"kit")
    shop.put("drums/deep/loop.wav", b"loop")
    paths = [shop.address("drums/kit.zip"), shop.address("drums/"), shop.address()]
    links = await publish_products(plan_products(paths, settings.data, storages), settings, store.url)
    assert [(link.id, len(link.manifest.files)) for link in links] == [
        ("kit.zip", 1),
        ("drums", 2),
        (shop.bucket, 2),
    ]
    assert {file.storage for link in links for file in link.manifest.files} == {"shop"}
    [again] = await publish_products(plan_products(paths[:1], settings.data, storages), settings, store.url)
    assert again.manifest == links[0].manifest


def test_an_address_in_no_storage_is_a_fault(settings: Settings) -> None:
    storages = Storages({}, settings.data, 4)
    with pytest.raises(ConfigurationError, match=r"s3://elsewhere/kit\.zip is in no storage of the settings"):
        plan_products(["s3://elsewhere/kit.zip"], settings.data, storages)


@pytest.mark.slow
async def test_links_are_quoted_for_url_and_shell(
    tmp_path: Path, settings: Settings, store: StoreServer
) -> None:
    name = "it's 100% ünï;&.zip"
    (tmp_path / name).write_bytes(b"kit")
    link = await publish(tmp_path / name, settings, store)
    url = f"http://127.0.0.1:8080/download/{link.token}/it%27s%20100%25%20%C3%BCn%C3%AF%3B%26.zip"
    text = list(describe_products([link], settings, Address.parse(settings.listen)))
    assert text[1] == f"  {url}"
    assert text[2] == f"  curl -o 'it'\"'\"'s 100% ünï;&.zip' {url}"


async def test_names_cannot_write_to_the_terminal(
    tmp_path: Path, settings: Settings, store: StoreServer
) -> None:
    (tmp_path / "\x1b[2J\nkit").write_bytes(b"kit")
    link = await publish(tmp_path / "\x1b[2J\nkit", settings, store)
    text = list(describe_products([link], settings, Address.parse(settings.listen)))
    assert all(line.isprintable() for line in text)
    assert text[2] == f"  curl -o 2j-kit http://127.0.0.1:8080/download/{link.token}/%1B%5B2J%0Akit"


async def test_several_files_get_their_index(tmp_path: Path, settings: Settings, store: StoreServer) -> None:
    (tmp_path / "kit" / "sub").mkdir(parents=True)
    (tmp_path / "kit" / "sub" / "a.wav").write_bytes(b"a")
    (tmp_path / "kit" / "z.wav").write_bytes(b"z")
    link = await publish(tmp_path / "kit", settings, store)
    text = list(describe_products([link], settings, Address.parse("unix:/run/dg.sock")))
    token = link.token
    assert text == [
        "kit, version 1: 2 files, 2 B",
        f"  http://127.0.0.1:8080/download/{token}/",
        f"  curl --unix-socket /run/dg.sock -O http://127.0.0.1:8080/download/{token}/sub/a.wav",
        "",
    ]


@pytest.mark.slow
def test_the_demo_is_the_same_each_time_and_written_once(tmp_path: Path) -> None:
    made = make_demo(tmp_path / "one")
    facts = made.stat()
    assert facts.st_size == 64 << 20
    assert make_demo(tmp_path / "one").stat().st_mtime_ns == facts.st_mtime_ns
    with made.open("rb") as first, make_demo(tmp_path / "two").open("rb") as second:
        assert first.read() == second.read()
