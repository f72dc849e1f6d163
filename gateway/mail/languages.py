"""The language of a customer's mails, by the country of an order. Pure."""

from __future__ import annotations

from typing import Final

_BY_COUNTRY: Final = {"DE": "de", "AT": "de", "LI": "de", "CH": "de"}
"""Countries most of whose people speak the language. In all others English is understood best."""


def language_of(country: str | None, default: str) -> str:
    """Choose a language. country: ISO 3166-1 alpha-2; None where no order tells one."""
    if country is None:
        return default
    return _BY_COUNTRY.get(country.upper(), "en")
