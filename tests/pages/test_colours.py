"""Every colour of a seller gives texts that can be read (WCAG 2.2, 1.4.3)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.pages.colours import READABLE, contrast, make_palette
from gateway.pages.look import DARK, LIGHT

COLOURS = st.from_regex(r"#[0-9a-f]{6}", fullmatch=True)


def triple(colour: str) -> tuple[int, int, int]:
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


def test_the_contrast_of_known_pairs() -> None:
    assert contrast((0, 0, 0), (255, 255, 255)) == pytest.approx(21)
    assert contrast((255, 255, 255), (255, 255, 255)) == pytest.approx(1)
    assert contrast((119, 119, 119), (255, 255, 255)) == pytest.approx(4.48, abs=0.01)  # #777 on white


@given(COLOURS, st.sampled_from([LIGHT, DARK]))
def test_links_and_buttons_can_be_read(colour: str, background: str) -> None:
    palette = make_palette(colour, background)
    assert palette.button == colour
    assert contrast(triple(palette.on_button), triple(colour)) >= READABLE
    assert contrast(triple(palette.link), triple(background)) >= READABLE


def test_a_colour_that_can_be_read_stays() -> None:
    assert make_palette("#1a5fb4", LIGHT).link == "#1a5fb4"
    assert make_palette("#1a5fb4", DARK).link != "#1a5fb4"
