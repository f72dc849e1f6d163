"""The form of users' names."""

from __future__ import annotations

import pytest

from gateway.users.roles import LONGEST_NAME, clean_name, is_user_name, login_of


@pytest.mark.parametrize(
    "name",
    ["maria", "Maria Schmidt", "maria@studio.example", "李雷", "a", "x" * LONGEST_NAME, "0123456789abcde"],
)
def test_names_of_people_are_taken(name: str) -> None:
    assert is_user_name(clean_name(name))


@pytest.mark.parametrize(
    "name",
    ["", "  ", "x" * (LONGEST_NAME + 1), "a\x00b", "a\u202eb", "cli", "CLI", "0123456789abcdef", "System"],
)
def test_names_that_mislead_are_refused(name: str) -> None:
    assert not is_user_name(clean_name(name))


def test_names_are_compared_without_capitals_and_ways_of_writing() -> None:
    assert login_of(" Maria  SCHMIDT ") == login_of("maria schmidt")
    assert login_of("ＭＡＲＩＡ") == login_of("maria")
    assert login_of("e\u0301va") == login_of("Éva")
