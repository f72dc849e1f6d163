"""What a browser calls itself, in words that its owner knows. Pure.

`Mozilla/5.0 (Windows NT 10.0; …) … Firefox/130.0` becomes ("Firefox", "Windows"). This only helps people to
know their own sessions again; nothing depends on it.
"""

from __future__ import annotations

from typing import Final

_PROGRAMS: Final = (
    ("Edg", "Edge"),
    ("OPR/", "Opera"),
    ("SamsungBrowser/", "Samsung Internet"),
    ("Vivaldi/", "Vivaldi"),
    ("Firefox/", "Firefox"),
    ("FxiOS/", "Firefox"),
    ("CriOS/", "Chrome"),
    ("Chrome/", "Chrome"),
    ("Safari/", "Safari"),
    ("curl/", "curl"),
)
"""The first that is there decides, because most browsers name others as well."""
_SYSTEMS: Final = (
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Android", "Android"),
    ("Windows", "Windows"),
    ("Mac OS X", "macOS"),
    ("CrOS", "ChromeOS"),
    ("Linux", "Linux"),
)


def browser_of(agent: str) -> tuple[str, str]:
    """The names of a browser and of its system; each is empty where it is not known."""
    program = next((name for sign, name in _PROGRAMS if sign in agent), "")
    system = next((name for sign, name in _SYSTEMS if sign in agent), "")
    return program, system
