"""Links and codes of sign-in mails: their forms, what is read of them, and what the store may know."""

from __future__ import annotations

import pytest

from gateway.web.portal.codes import (
    CODE_DIGITS,
    Asked,
    hash_of,
    is_secret,
    new_code,
    new_secret,
    proof_of,
    read_code,
    read_cookie,
    shown_code,
    write_cookie,
)
from tests.support.rows import each_row


def test_codes_have_all_their_digits_and_differ() -> None:
    codes = {new_code() for _ in range(200)}
    assert len(codes) > 190
    assert all(len(code) == CODE_DIGITS and code.isdigit() for code in codes)
    assert shown_code("01234567") == "0123 4567"


@each_row(
    ("typed", "code"),
    [
        ("01234567", "01234567"),
        ("0123 4567", "01234567"),
        (" 0123-4567\t", "01234567"),
        ("0123\u00a04567", "01234567"),
        ("０１２３４５６７", "01234567"),
        ("٠١٢٣٤٥٦٧", "01234567"),
        ("Code: 0123 4567.", "01234567"),
        ("", ""),
        ("0123456", ""),
        ("012345678", ""),
        ("abcdefgh", ""),
        ("0" * 1000, ""),
    ],
)
def test_what_a_person_types_is_read(typed: str, code: str) -> None:
    assert read_code(typed) == code


def test_a_proof_needs_the_browsers_secret_and_every_code_in_its_order() -> None:
    secret, other = new_secret(), new_secret()
    proofs = {
        proof_of(secret, "11111111"),
        proof_of(other, "11111111"),
        proof_of(secret, "22222222"),
        proof_of(secret, "11111111", "22222222"),
        proof_of(secret, "22222222", "11111111"),
        proof_of(secret, "1111111122222222"),
        proof_of(secret),
    }
    assert len(proofs) == 7
    assert hash_of("a", "bc") != hash_of("ab", "c")


@pytest.mark.parametrize("address", ["ann@example.com", "ölaf@xn--bcher-kva.example", '"a b"@example.com'])
def test_a_cookie_is_read_as_it_was_written(address: str) -> None:
    asked = Asked(new_secret(), address)
    text = write_cookie(asked)
    assert read_cookie(text) == asked
    assert text.isascii()
    assert not set(text) & set(' ",;\\')


@each_row(
    "text",
    [
        "",
        ".",
        "a.b",
        f"{'a' * 43}",
        f"{'a' * 43}.",
        f"{'a' * 43}.!!!!",
        f"{'a' * 43}.YW5u",  # no address
        f"{'a' * 42}.YW5uQGV4YW1wbGUuY29t",
        f"{'a' * 43}.{'Y' * 5000}",
        f"{'é' * 43}.YW5uQGV4YW1wbGUuY29t",
        f"{'a' * 43}.gIGC",  # no UTF-8
    ],
)
def test_any_other_cookie_is_none(text: str) -> None:
    assert read_cookie(text) is None


def test_secrets_are_long_and_differ() -> None:
    secrets = {new_secret() for _ in range(100)}
    assert len(secrets) == 100
    assert all(map(is_secret, secrets))
    for text in ("", "a" * 42, "a" * 44, "a" * 42 + "/", "é" * 43, "a" * 42 + "\n"):
        assert not is_secret(text)
