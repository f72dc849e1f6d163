"""How the portal is put together: its pages, and where forms may lead to."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.config.settings import Settings
from gateway.pages.look import Look
from gateway.web.pages import Pages
from gateway.web.portal.application import PAGES, PREFIX, redirecting_origins

S3 = {"type": "s3", "bucket": "kits", "region": "eu-west-1"}


@pytest.mark.parametrize(
    ("storages", "origins"),
    [
        ({}, []),
        ({"a": {"root": "/srv"}}, []),
        ({"a": S3}, []),
        ({"a": {**S3, "delivery": "redirect"}}, ["https://kits.s3.eu-west-1.amazonaws.com"]),
        (
            {"a": {**S3, "delivery": "redirect", "endpoint": "http://minio.example:9000"}, "b": S3},
            ["http://minio.example:9000"],
        ),
    ],
)
def test_forms_may_lead_to_buckets_that_clients_are_redirected_to(
    storages: dict[str, Any], origins: list[str]
) -> None:
    settings = Settings.model_validate({"storage": storages})
    assert list(redirecting_origins(settings)) == origins
    pages = Pages(Look.of(settings), "en", PREFIX, "https://shop.example", downloads=origins)
    forms = pages.policy_of_downloads.partition("form-action ")[2].partition(";")[0].split()
    assert forms == ["'self'", "https://shop.example", *origins]


def test_what_changes_something_is_a_post_of_its_own() -> None:
    reads = {page.path for page in PAGES if page.method == "GET"}
    changes = {page.path for page in PAGES if page.method == "POST"}
    assert reads & changes == {
        "/code",
        "/sign-in/{secret}",
        "/account/move",
        "/news/{secret}",
    }, "pages with their form"
    assert {page.method for page in PAGES} == {"GET", "POST"}
