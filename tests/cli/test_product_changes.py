"""`product activate | rename | archive | restore | remove`, what was left out of a folder, and `audit`."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.products.left_out import MAX_NAMED
from tests.support.console import Gateway
from tests.support.waiting import wait_until


@pytest.fixture
def drums(gateway: Gateway, files: Path) -> str:
    """Two versions of a product; 1 is active."""
    gateway.run("product", "add", "drums", "1", files)
    (files / "new").write_bytes(b"new")
    gateway.run("product", "add", "drums", "2", files)
    return "drums"


@pytest.mark.slow
def test_activate_and_rename(gateway: Gateway, drums: str) -> None:
    assert gateway.json("product", "activate", drums, "2")["activeVersion"] == "2"
    assert gateway.json("token", "create", drums)["version"] == "2"
    assert "no version 9" in gateway.fault("product", "activate", drums, "9")
    assert "no product bass" in gateway.fault("product", "activate", "bass", "1")
    old = gateway.json("token", "create", drums)
    assert gateway.json("product", "rename", drums, "Épic Drums")["name"] == "Épic Drums"
    assert gateway.json("token", "show", old["tokenId"])["productId"] == drums
    assert "1 to 200 characters" in gateway.fault("product", "rename", drums, "")


@pytest.mark.slow
def test_an_archived_product_mints_nothing_and_its_links_stay(gateway: Gateway, drums: str) -> None:
    old = gateway.json("token", "create", drums)
    assert "its links go on working" in gateway.run("product", "archive", drums).stderr
    assert "archived" in gateway.fault("token", "create", drums)
    assert gateway.json("token", "show", old["tokenId"])["status"] == "active"
    assert gateway.json("product", "restore", drums)["status"] == "active"
    gateway.run("token", "create", drums)


@pytest.mark.slow
def test_nothing_is_removed_while_tokens_are_valid(gateway: Gateway, drums: str) -> None:
    token = gateway.json("token", "create", drums)["tokenId"]
    fault = gateway.fault("product", "remove", drums, "--yes")
    assert "product drums has 1 valid token" in fault
    assert "--force" in fault
    assert gateway.json("product", "show", drums)["status"] == "active"
    assert "Nobody can be asked here: add --yes" in gateway.fault("product", "remove", drums, "--force")
    removed = gateway.json("product", "remove", drums, "--force", "--yes")
    assert removed == {"productId": drums, "version": None, "removed": True, "revokedTokens": 1}
    assert gateway.json("product", "list") == []
    assert gateway.json("token", "show", token)["status"] == "revoked"
    assert "no product drums" in gateway.fault("product", "remove", drums, "--yes")


@pytest.mark.slow
def test_one_version_is_removed(gateway: Gateway, drums: str, files: Path) -> None:
    assert "activate another first" in gateway.fault("product", "remove", drums, "1", "--yes")
    assert "no version 9" in gateway.fault("product", "remove", drums, "9", "--yes")
    gateway.run("token", "create", drums, "1")
    gateway.run("product", "remove", drums, "2", "--yes")
    assert [each["version"] for each in gateway.json("product", "show", drums)["versions"]] == ["1"]
    gateway.run("product", "add", drums, "2", files)


def test_what_was_left_out_is_named(gateway: Gateway, files: Path) -> None:
    (files / ".git").mkdir()
    for number in range(MAX_NAMED):
        (files / f".hidden{number:02}").touch()
    added = gateway.run("product", "add", "drums", "1", files)
    lines = added.stderr.splitlines()
    assert lines[0] == f"Left out {MAX_NAMED + 1} hidden files:"
    assert f"  {files}/.git/" in lines
    assert lines[MAX_NAMED + 1] == "  and 1 more"
    left_out = gateway.json("product", "add", "drums", "1", files)["leftOut"]
    assert (left_out["count"], len(left_out["named"])) == (MAX_NAMED + 1, MAX_NAMED)
    bass = gateway.json("product", "add", "bass", "1", files / "a.bin")
    assert bass["leftOut"] == {"count": 0, "named": []}


@pytest.mark.slow
def test_keys_mint_by_default_and_expire(gateway: Gateway) -> None:
    made = gateway.json("key", "create", "shop", "--expires", "90d")
    assert made["role"] == "mint"
    assert made["expiresAt"] > made["createdAt"]
    assert gateway.json("key", "create", "office", "--role", "admin")["expiresAt"] is None
    assert "never" in gateway.run("key", "list").stdout
    brief = gateway.json("key", "create", "brief", "--expires", "1s")["keyId"]

    def listed() -> list[tuple[str, str]]:
        return [(it["name"], it["status"]) for it in gateway.json("key", "list")]

    wait_until(lambda: ("brief", "expired") in listed(), "the key is listed as expired")
    assert gateway.json("key", "revoke", "brief")["keyId"] == brief
    assert listed() == [("shop", "active"), ("office", "active")]
    for text in ("0", "-1", "soon", "99999d"):
        assert "--expires" in gateway.fault("key", "create", "x", "--expires", text)


@pytest.mark.slow
def test_tokens_of_a_key_are_listed_and_revoked(gateway: Gateway, drums: str) -> None:
    key = gateway.json("key", "create", "shop")["keyId"]
    gateway.run("token", "create", drums)
    assert gateway.json("token", "list", "--key", "shop") == []
    assert gateway.json("token", "list", "--key", key) == []
    assert gateway.json("token", "revoke", "--key", "shop") == []
    assert "no API key nobody" in gateway.fault("token", "list", "--key", "nobody")
    assert "give the ID" in gateway.fault("token", "revoke")
    assert "give the ID" in gateway.fault("token", "revoke", "0" * 32, "--key", key)


@pytest.mark.slow
def test_every_change_is_in_the_audit_trail(gateway: Gateway, drums: str) -> None:
    key = gateway.json("key", "create", "shop")
    token = gateway.json("token", "create", drums)
    gateway.run("token", "extend", token["tokenId"], "--unlimited")
    gateway.run("token", "revoke", token["tokenId"])
    gateway.run("product", "archive", drums)
    gateway.run("key", "revoke", "shop")
    gateway.run("product", "remove", drums, "--yes")
    trail = gateway.json("audit")
    assert [change["action"] for change in reversed(trail)] == [
        "version.register",
        "version.register",
        "key.create",
        "token.create",
        "token.update",
        "token.revoke",
        "product.update",
        "key.revoke",
        "product.remove",
    ]
    assert {change["by"] for change in trail} == {"cli"}
    assert trail[1]["what"] == {"key": key["keyId"]}
    shown = gateway.run("audit", "--limit", "2").stdout
    assert shown.count("\n") == 3
    for secret in (key["key"], token["downloadToken"]):
        assert secret not in str(trail)


@pytest.mark.slow
def test_who_publishes_reads_whether_anybody_is_told(gateway: Gateway, drums: str, files: Path) -> None:
    said = gateway.run("product", "add", drums, "3", files, "--notify").stderr
    assert "Nobody gets a mail: no customer has it." in said
    gateway.run("entitlement", "add", "ann@example.com", drums, "--reason", "a gift")
    said = gateway.run("product", "add", drums, "4", files, "--notify").stderr
    assert "Customers who have it get a mail" in said
    assert "There is no mail server yet (mail.url): each mail is a file below " in said
    assert "mail" not in gateway.run("product", "add", drums, "4", files, "--notify").stderr
