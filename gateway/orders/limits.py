"""The limits of orders that people tell: by the admin API, by a command, and in a file. Pure."""

from __future__ import annotations

from typing import Final

MAX_LINES: Final = 1000
"""Lines of one order. Shops allow some hundreds."""
MAX_QUANTITY: Final = 1_000_000
MAX_ID: Final = 255
"""Characters of the id of an order or of a line."""
MAX_TEXT: Final = 500
"""Characters of numbers, titles, SKUs and reasons."""
SOURCE_PATTERN: Final = r"^[a-z0-9-]{1,64}$"
"""The word for where orders come from that no connection tells."""
