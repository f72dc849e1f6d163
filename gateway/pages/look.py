"""What the seller's settings say about pages and mails."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from gateway.config.page_settings import PageSettings, read_logo
from gateway.errors import ConfigurationError
from gateway.pages.colours import Palette, make_palette

LIGHT: Final = "#f5f6f8"
DARK: Final = "#20232a"
"""The backgrounds that have the least contrast to a link: `--raised` in static/style.css."""


@dataclass(frozen=True)
class Look:
    """The seller's name, links (label and URL) and colours; logo: its media type and bytes."""

    name: str
    links: tuple[tuple[str, str], ...]
    light: Palette
    dark: Palette
    logo: tuple[str, bytes] | None = None

    @classmethod
    def of(cls, settings: PageSettings) -> Look:
        """Read the settings. Raises ConfigurationError for a logo that cannot be used."""
        logo = None
        if settings.seller_logo is not None:
            try:
                logo = read_logo(settings.seller_logo)
            except ValueError as fault:
                raise ConfigurationError([f"seller_logo: {settings.seller_logo} {fault}"]) from None
        return cls(
            settings.seller_name,
            settings.seller_links,
            make_palette(settings.seller_colour, LIGHT),
            make_palette(settings.seller_colour, DARK),
            logo,
        )

    @property
    def style(self) -> str:
        """The part of the style sheet that has the seller's colours."""
        light, dark = (
            f":root{{--button:{each.button};--on-button:{each.on_button};--link:{each.link}}}"
            for each in (self.light, self.dark)
        )
        return f"{light}\n@media (prefers-color-scheme: dark){{{dark}}}\n"
