"""Publishing from a storage by the dashboard: the picker, the job, and what it refuses."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path

import pytest

from gateway.config.settings import Settings
from tests.support.control_plane import Api
from tests.support.dashboard import PREFIX, Answer, Visitor

TRAVERSALS = ("..", "../data", "/etc", "/etc/passwd", "a/../..", "way-out", ".hidden", "%00", "\ud800x")


@pytest.fixture
def files(settings: Settings) -> Path:
    """The folder of the storage `main`."""
    root = Path(settings.storage["main"].root)  # type: ignore[union-attr]
    (root / "kit" / "loops").mkdir(parents=True)
    (root / "kit" / "kick.wav").write_bytes(b"kick")
    (root / "kit" / "loops" / "one.wav").write_bytes(b"one")
    (root / "way-out").symlink_to("/etc")
    return root


async def publish(visitor: Visitor, *keys: str, **fields: str) -> Answer:
    form = [("storage", "main"), ("folder", ""), ("version", "3.0.0"), *(("key", key) for key in keys)]
    data = [(name, fields.pop(name, value)) for name, value in form] + list(fields.items())
    headers = {"Sec-Fetch-Site": "same-origin"}
    path = f"{PREFIX}/products/drums/publish"
    return await visitor.request("POST", path, data=data, headers=headers)


async def wait(visitor: Visitor, answer: Answer) -> Answer:
    """The page of a job once it is over."""
    assert answer.status == 303, answer.text
    while True:
        page = await visitor.get(answer.location)
        if "hx-get" not in page.text:
            return page
        await asyncio.sleep(0.02)


async def test_a_version_is_published_from_a_folder(api: Api, owner: Visitor, files: Path) -> None:
    page = await owner.get("/products/drums/publish")
    assert "kit/" in page.text
    assert "way-out" not in page.text
    page = await owner.get("/products/drums/publish?storage=main&folder=kit")
    assert "kick.wav" in page.text
    done = await wait(owner, await publish(owner, "kit", notes="All new", activate="yes"))
    assert "The version is published." in done.text
    product = await api.store.products.get("drums")
    assert product is not None
    assert product.active == "3.0.0"
    manifest = await api.store.products.get_manifest(product.versions["3.0.0"])
    assert manifest is not None
    assert [(file.name, file.key) for file in manifest.files] == [
        ("kick.wav", "kit/kick.wav"),
        ("loops/one.wav", "kit/loops/one.wav"),
    ]
    assert manifest.files[0].sha256 == hashlib.sha256(b"kick").hexdigest()
    assert manifest.files[0].type == "audio/wav"
    assert "All new" in (await owner.get("/products/drums")).text
    changes = {each.action: each.by for each in await api.store.audit.latest(3)}
    assert changes["version.register"] == changes["version.publish"] == "maria"


@pytest.mark.parametrize(
    ("keys", "fields", "text"),
    [
        ([], {}, "no files"),
        (["kit"], {"version": ""}, "version"),
        (["kit"], {"version": "a b"}, "version"),
        (["kit"], {"version": "1.0.0"}, "exists"),
        (["kit"], {"storage": "none"}, "no storage"),
        (["nothing"], {}, "nothing"),
        (["kit/kick.wav"], {"folder": "other"}, "folder"),
    ],
)
async def test_what_cannot_be_published_is_said(
    api: Api, owner: Visitor, files: Path, keys: list[str], fields: dict[str, str], text: str
) -> None:
    answer = await publish(owner, *keys, **fields)
    assert answer.status == 422
    assert text in answer.text
    product = await api.store.products.get("drums")
    assert product is not None
    assert set(product.versions) == {"1.0.0", "2.0.0"}


@pytest.mark.parametrize("key", TRAVERSALS)
async def test_the_picker_does_not_leave_its_root(api: Api, owner: Visitor, files: Path, key: str) -> None:
    shown = await owner.get(
        "/products/drums/publish", params={"storage": "main", "folder": key.replace("\ud800", "")}
    )
    assert shown.status == 404
    assert "root:" not in shown.text
    answer = await publish(owner, key.replace("\ud800", ""))
    assert answer.status in (400, 422)


async def test_a_job_that_fails_says_why_and_changes_nothing(api: Api, owner: Visitor, files: Path) -> None:
    answer = await publish(owner, "kit/kick.wav")
    await wait(owner, answer)
    (files / "kit" / "kick.wav").write_bytes(b"other")
    again = await publish(owner, "kit/kick.wav", version="3.0.0")
    assert again.status == 422, "a version never changes"
    assert (await owner.get("/jobs/none")).status == 404


async def test_a_part_of_the_page_is_asked_for_by_htmx(api: Api, owner: Visitor, files: Path) -> None:
    answer = await publish(owner, "kit")
    await wait(owner, answer)
    part = await owner.get(answer.location, headers={"HX-Request": "true"})
    assert part.text.lstrip().startswith('<div id="job"')
    assert "<html" not in part.text


async def test_without_a_storage_the_page_says_what_to_do(
    api: Api, owner: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.web.dashboard.publishing.list_places", lambda _: [])
    assert "No storage is set up yet" in (await owner.get("/products/drums/publish")).text
