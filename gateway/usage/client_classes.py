"""Which kind of program a User-Agent is: for reports, where bots are shown by themselves. Pure.

A User-Agent is what a program says of itself, so the class is no proof of anything. The first row that fits
counts. Where a User-Agent was taken out, its class stands in its place (`program_class`), and keeps it.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

from gateway.database.attempt_texts import program_class

BOT: Final = "bot"
OTHER: Final = "other"

_ROWS: Final[tuple[tuple[str, re.Pattern[str]], ...]] = tuple(
    (name, re.compile(pattern, re.IGNORECASE))
    for name, pattern in (
        (
            BOT,
            r"(?<!cu)bot\b|crawler|spider|slurp|preview|scanner|monitor|facebookexternalhit|headlesschrome|"
            r"safelinks|urldefense|proofpoint|barracuda|mimecast|virustotal|uptime|lighthouse|whatsapp|"
            r"telegram|skypeuripreview|google-read-aloud|mediapartners|feedfetcher",
        ),
        ("curl", r"^curl/"),
        ("wget", r"^wget2?/"),
        ("aria2", r"^aria2/"),
        (
            "download manager",
            r"^axel/|lftp|\bidm\b|internet download manager|free ?download manager|^fdm/|jdownloader|"
            r"motrix|getright|flashget|downthemall|uget|xdm|transmission|^rclone/|persepolis|yt-dlp|zsync|zck",
        ),
        (
            "script",
            r"python|requests|aiohttp|httpx|^go-http-client|java/|okhttp|axios|node-fetch|undici|libwww|"
            r"powershell|guzzle|ruby|perl|php|apache-httpclient|dart",
        ),
        ("browser", r"^mozilla/|^opera/"),
    )
)

CLASSES: Final = (*(name for name, _ in _ROWS), OTHER)
_LEFT: Final = {program_class(name): name for name in CLASSES}


@lru_cache(maxsize=4096)
def classify(agent: str) -> str:
    """The class of a User-Agent; `other` for one that is not known, or empty."""
    return _LEFT.get(agent) or next((name for name, pattern in _ROWS if pattern.search(agent)), OTHER)
