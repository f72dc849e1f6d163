"""`load`: which hosts it refuses, which tokens it reads, and what it sends."""

from pathlib import Path

import pytest

from bench.__main__ import main
from bench.deployment import Deployment, LoadPlan, read_tokens, require_loopback
from bench.errors import BenchError


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:1", "http://127.8.9.1", "http://[::1]:80/", "http://localhost"]
)
def test_loopback_addresses_may_be_loaded(url: str) -> None:
    require_loopback(url, own_host=False)


@pytest.mark.parametrize(
    "url", ["http://192.0.2.1", "https://198.51.100.7:8443/x", "http://[2001:db8::1]:80"]
)
def test_another_machine_is_refused_unless_it_is_yours(url: str) -> None:
    with pytest.raises(BenchError, match="--yes-i-own-this-host"):
        require_loopback(url, own_host=False)
    require_loopback(url, own_host=True)


@pytest.mark.parametrize("url", ["", "ftp://127.0.0.1", "127.0.0.1:80", "http://"])
def test_a_url_must_be_one(url: str) -> None:
    with pytest.raises(BenchError, match="no URL"):
        require_loopback(url, own_host=True)


def test_the_command_refuses_before_it_does_anything(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["load", "--url", "http://192.0.2.1", "--tokens", str(tmp_path / "none")]) == 1
    assert "--yes-i-own-this-host" in capsys.readouterr().err


def test_tokens_are_read_bare_and_out_of_urls(tmp_path: Path) -> None:
    path = tmp_path / "tokens"
    path.write_text("# mine\nct_a\n\nhttp://x/download/f.zip?token=ct_b&utm=1\n")
    assert read_tokens(path) == ["ct_a", "ct_b"]


@pytest.mark.parametrize("text", ["", "# none\n", "http://x/download?file=1\n"])
def test_a_file_without_tokens_is_an_error(tmp_path: Path, text: str) -> None:
    path = tmp_path / "tokens"
    path.write_text(text)
    with pytest.raises(BenchError, match="must have one token"):
        read_tokens(path)
    with pytest.raises(BenchError, match="cannot be read"):
        read_tokens(tmp_path / "none")


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("http://127.0.0.1:8080", b"GET /download?token=ct_a "),
        ("http://127.0.0.1:8080/", b"GET /download?token=ct_a "),
        ("http://127.0.0.1:8080/shop", b"GET /shop/download?token=ct_a "),
        ("http://127.0.0.1:8080/download/f?token={token}&x=1", b"GET /download/f?token=ct_a&x=1 "),
    ],
)
def test_a_url_is_a_base_or_a_template(url: str, target: bytes) -> None:
    [request] = Deployment(LoadPlan(url)).requests(["ct_a"])
    assert request.startswith(target)
    assert b"\r\nHost: 127.0.0.1:8080\r\n" in request


def test_the_authorisation_carries_the_url_in_a_field() -> None:
    [request] = Deployment(LoadPlan("http://127.0.0.1:8080", "auth")).requests(["ct_a"])
    assert request.startswith(b"GET /auth ")
    assert b"X-Original-URI: /download?token=ct_a\r\n" in request


def test_unknown_tokens_are_well_formed_and_new() -> None:
    first, second = Deployment(LoadPlan("http://127.0.0.1:8080", "refused")).requests(["", ""])
    assert first != second
    assert b"token=ct_" in first
