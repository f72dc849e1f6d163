"""Percent-decoding is what the standard library does, at a cost that no text raises."""

from __future__ import annotations

from urllib.parse import unquote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.http.percent import percent_decode


@given(st.text(alphabet="%0123456789abcdefABCDEFg /é\udcff", max_size=60))
@example("%C3%A9")
@example("%C3a%A9")
@example("%c3é%a9")
@example("%%41%4")
@example("%F0%9F%98%80%ff")
def test_it_decodes_as_the_standard_library(text: str) -> None:
    assert percent_decode(text) == unquote(text, errors="surrogateescape")


@pytest.mark.parametrize("text", ["", "plain", "100%", "%zz", "%u0041"])
def test_what_is_not_encoded_stays(text: str) -> None:
    assert percent_decode(text) == text
