"""Colours that can be read: from the seller's one colour, those of buttons and links. Pure.

The source of the numbers is WCAG 2.2: relative luminance and contrast ratio, and success criterion 1.4.3,
which asks for a ratio of 4.5 between a text and what is behind it.
"""

from __future__ import annotations

from typing import Final, NamedTuple

READABLE: Final = 4.5
STEPS: Final = 40
"""In so many steps a colour goes to black or to white, until it can be read."""

Triple = tuple[int, int, int]


class Palette(NamedTuple):
    """Colours as `#rrggbb`: behind a button and its text, and of a link, on one background."""

    button: str
    on_button: str
    link: str


def make_palette(colour: str, background: str) -> Palette:
    """The colours of buttons and links on a background. Both are `#rrggbb`."""
    own, behind = _parse(colour), _parse(background)
    white, black = (255, 255, 255), (0, 0, 0)
    on_button = white if contrast(own, white) >= READABLE else black
    target = black if _luminance(behind) > 0.5 else white
    link = own
    for step in range(STEPS + 1):
        link = _mix(own, target, step / STEPS)
        if contrast(link, behind) >= READABLE:
            break
    return Palette(_text(own), _text(on_button), _text(link))


def contrast(one: Triple, other: Triple) -> float:
    """The contrast ratio of two colours, from 1 to 21."""
    lighter, darker = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def _luminance(colour: Triple) -> float:
    red, green, blue = (_linear(value / 255) for value in colour)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _linear(value: float) -> float:
    return value / 12.92 if value <= 0.04045 else float(((value + 0.055) / 1.055) ** 2.4)


def _mix(one: Triple, other: Triple, share: float) -> Triple:
    red, green, blue = (round(left + (right - left) * share) for left, right in zip(one, other, strict=True))
    return red, green, blue


def _parse(colour: str) -> Triple:
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


def _text(colour: Triple) -> str:
    return "#{:02x}{:02x}{:02x}".format(*colour)
