"""Which passwords are refused: a table of what people try first, and of what is good."""

from __future__ import annotations

import pytest

from gateway.users.password_rules import LONGEST, PasswordFault, find_password_fault
from tests.support.rows import each_row

SHORT = ["", "a", "tr0ub4dor&3", "x" * 11, "kX9#mQ2$vL"]
COMMON = [
    "password1234",
    "Password1234",
    "P@ssw0rd1234",
    "p4ssw0rd2024",
    "passwordpassword",
    "123456789012",
    "1234567890123",
    "012345678901234567890",
    "987654321098",
    "qwertyuiop123",
    "qwertyuiopasdfghjkl",
    "1q2w3e4r5t6y",
    "1qaz2wsx3edc4rfv",
    "zaq12wsxcde3",
    "abcdefghijkl",
    "abcabcabcabc",
    "aaaaaaaaaaaa",
    "ababababababab",
    "iloveyou12345",
    "iloveyouiloveyou",
    "administrator",
    "Administrator1!",
    "adminadmin123",
    "letmein12345",
    "welcome12345",
    "Welcome2024!!",
    "dragonDragon99",
    "monkey123456",
    "football12345",
    "superman1234",
    "trustno1trustno1",
    "changeme1234",
    "correct horse battery staple",
    "CorrectHorseBatteryStaple",
    "passwort12345",
    "Sommer2024!!",
    "qwertzuiop12",
    "azertyuiop12",
    "asdfghjkl123",
    "downloadgateway",
    "testtesttest",
    "test12345678",
    "111111111111",
    "121212121212",
    "password!!!!",
    "!!password!!",
    "secretsecret1",
    "motdepasse123",
    "asdfasdfasdf",
    "12345678qwer",
    "qwer12345678",
]
GOOD = [
    "kX9#mQ2$vL7p",
    "violet-harbour-94-tin",
    "we ate seven plums at noon",
    "Zwölf Boxkämpfer jagen Viktor",
    "гладкая рыба 18",
    "mZ4f9tQw81Lp",
    "plover.rivet.gauze",
    "passing the slow orange bridge at ten",
    "天津四月の雨はまだ冷たい夜",
]


@pytest.mark.parametrize("password", SHORT)
def test_short_passwords_are_refused(password: str) -> None:
    assert find_password_fault(password) is PasswordFault.SHORT


@each_row("password", COMMON)
def test_what_everybody_tries_is_refused(password: str) -> None:
    assert find_password_fault(password) is PasswordFault.COMMON


@pytest.mark.parametrize("password", GOOD)
def test_long_passwords_of_any_kind_are_taken(password: str) -> None:
    assert find_password_fault(password, ("maria",)) is None


@pytest.mark.parametrize("password", ["mariaschmidt", "MariaSchmidt1", "mariaschmidt2024", "1!mariaschmidt"])
def test_ones_own_name_is_refused(password: str) -> None:
    assert find_password_fault(password, ("MariaSchmidt@studio.example",)) is PasswordFault.NAME


def test_a_password_that_is_too_long_is_refused_before_anything_looks_at_it() -> None:
    assert find_password_fault("ab1" * LONGEST) is PasswordFault.LONG
    assert find_password_fault("kX9#" + "ж" * (LONGEST - 4)) is not PasswordFault.LONG


def test_signs_that_are_written_in_two_ways_count_as_one() -> None:
    assert find_password_fault("e\u0301" * 6) is PasswordFault.SHORT
    assert find_password_fault("ｐａｓｓｗｏｒｄ１２３４") is PasswordFault.COMMON
