"""What was downloaded from a shop: tokens, downloads and the sums of days, as rows of the tables.

They come in the order of time, so that the sums of a day are whole when the next day begins.
"""

from __future__ import annotations

import random
from array import array
from collections.abc import Iterator
from typing import Final

from bench.pages.shop import (
    CLIENTS,
    DAY_MS,
    DIRECT_PART,
    FILES,
    OPEN_PART,
    SHARED_PART,
    VERSIONS,
    Chooser,
    Row,
    Shop,
    address_of,
    identifier,
    manifest_of,
    product_id,
    scattered,
)
from gateway.database.attempt_texts import CUT, FULL, GONE
from gateway.usage.events import FileOfVersion
from gateway.usage.repository import file_id

DOWNLOADS_A_TOKEN: Final = 5
TOKEN_DAYS: Final = 7
"""How long a token lives."""
ADDRESS_DAYS: Final = 548
NETWORK_DAYS: Final = 1096
"""After which addresses and programs are gone, as the settings have it by default."""
SHARED_NETWORKS: Final = 12
_RIGHTS: Final = 1 << 62
"""Series of entitlements are numbered from here, those of tokens from 0."""


def token_id(number: int) -> str:
    """The id of a token."""
    return scattered(number, 32)


def count_tokens(downloads: int) -> int:
    """How many tokens so many downloads take."""
    return max(1, downloads // DOWNLOADS_A_TOKEN)


class Traffic:
    """Makes the rows, for a shop whose orders were read. `days`: of the sums that are not handed on yet."""

    def __init__(self, shop: Shop) -> None:
        self._shop = shop
        self._random = random.Random(14)
        self._product = Chooser(self._random, shop.plan.products)
        self._sizes: dict[tuple[int, int], list[tuple[str, int]]] = {}
        self._counts = array("H", bytes(2 * FILES * len(VERSIONS) * len(shop.owners)))
        self._programs = [(name, agent) for name, agent, weight in CLIENTS for _ in range(weight)]
        self._series = 0
        self._day = -1
        self._days: dict[tuple[int, int, str, bool], list[int]] = {}

    def files(self) -> Iterator[dict[str, Row]]:
        """The files of all versions."""
        for product in range(self._shop.plan.products):
            for place, version in enumerate(VERSIONS):
                known = self._sizes[product, place] = []
                for file in manifest_of(product, version).files:
                    values = FileOfVersion(product_id(product), version, file.name, file.size, file.sha256)
                    known.append((file_id(values), file.size))
                    yield {"usage_file": (file_id(values), *values)}

    def downloads(self) -> Iterator[dict[str, list[Row]]]:
        """Tokens with their downloads, and the sums of each day after its last one."""
        plan, chosen = self._shop.plan, self._random
        count = count_tokens(plan.downloads)
        left = plan.downloads
        span = plan.end - plan.start - DAY_MS
        rights, known = self._shop.placed, 0
        for number in range(count):
            moment = plan.start + span * number // count
            while known < len(rights) and rights[known] <= moment:
                known += 1
            if moment // DAY_MS != self._day:
                yield {"usage_day": self._take_day(moment // DAY_MS)}
            right = -1
            if known and chosen.random() >= DIRECT_PART:
                right = int(chosen.random() * known)
                if self._shop.never(right):  # another one is downloaded instead
                    right = right - 1 if right and not self._shop.never(right - 1) else -1
            wanted = left if number == count - 1 else min(left, DOWNLOADS_A_TOKEN)
            left -= wanted
            yield self._token(number, moment, right, wanted)
        yield {"usage_day": self._take_day(-1)}

    def _token(self, number: int, moment: int, right: int, wanted: int) -> dict[str, list[Row]]:
        shop, plan, chosen = self._shop, self._shop.plan, self._random
        token = token_id(number)
        is_direct = right < 0
        product = self._product() if is_direct else shop.products[right]
        place = number * 7 % 10
        place = 2 if place < 6 else 1 if place < 9 else 0
        buyer = number % plan.customers if is_direct else shop.owners[right]
        customer, email = identifier("c", buyer), address_of(buyer)
        expires = moment + TOKEN_DAYS * DAY_MS
        entitlement = None if is_direct else identifier("e", right)
        version = VERSIONS[place]
        rows: dict[str, list[Row]] = {
            "token": [(
                token, product_id(product), version, entitlement, customer, email,
                None, "shop", 5, None, False, moment, expires, expires < plan.end,
            )],
            "series": [], "token_series": [], "download": [],
        }  # fmt: skip
        if entitlement is not None:
            rows["link"] = [(token, entitlement, version, moment, expires, None)]
        files = self._sizes[product, place]
        client, agent = self._programs[int(chosen.random() * len(self._programs))]
        is_shared = chosen.random() < SHARED_PART
        for each in range(wanted):
            place_of_file = each % len(files)
            file, size = files[place_of_file]
            if is_direct:
                series, repeat = self._series + place_of_file, each // len(files) + 1
            else:  # every token of a purchase goes on with its series
                slot = (right * len(VERSIONS) + place) * FILES + place_of_file
                self._counts[slot] = repeat = self._counts[slot] + 1
                series = _RIGHTS + slot
            name = scattered(series, 26)
            if repeat == 1:
                rows["series"].append((name, entitlement or token, file, 1))
            if each < len(files):
                rows["token_series"].append((token, name))
            done = chosen.random() >= OPEN_PART
            first = moment + 1000 * each
            row = self._download(
                name, repeat, file, size, token, customer, client, agent, first, done, is_shared, is_direct
            )
            rows["download"].append(row)
            sums = self._days.setdefault((product, place, client, done), [0, 0, 0])
            sums[0] += 1
            sums[1] += done
            sums[2] += row[11]
        self._series += len(files) * is_direct
        return rows

    def _download(
        self, series: str, number: int, file: str, size: int, token: str, customer: str, client: str,
        agent: str, first: int, done: bool, is_shared: bool, is_direct: bool,
    ) -> Row:  # fmt: skip
        age = (self._shop.plan.end - first) // DAY_MS
        privacy = FULL if age < ADDRESS_DAYS else CUT if age < NETWORK_DAYS else GONE
        last = first + 60_000
        sent = size if done else size // 2
        times = SHARED_NETWORKS if is_shared else 1
        net = first // 1000 % 250
        addresses = [
            f"198.{18 + each}.{net}.7" if privacy == FULL else f"198.{18 + each}.{net}.0/24"
            for each in range(times)
        ]
        if privacy == GONE:
            addresses, agent = [""] * times, f"({client})"
        requests = ",".join(
            f'[{first * 1000 + each},"w",{each},{last * 1000},0,{sent},[[0,{sent}]],'
            f"{each + 1},{times + 1},true,1]"
            for each in range(times)
        )
        texts = '","'.join((token, *addresses, agent))
        completed = last if done else None
        attempts = (
            f'{{"completed":{last * 1000 if done else "null"},"rows":[{requests}],"texts":["{texts}"]}}'
        )
        return (
            series, number, file, token, customer, False, client, first, last, completed, times, sent * times,
            sent, attempts, privacy, None if done else last, is_direct,
        )  # fmt: skip

    def _take_day(self, following: int) -> list[Row]:
        """The sums of the day that is over."""
        rows: list[Row] = [
            (
                self._day,
                product_id(product),
                VERSIONS[place],
                client,
                "completed" if done else "started",
                *sums,
            )
            for (product, place, client, done), sums in self._days.items()
        ]
        self._days = {}
        self._day = following
        return rows
