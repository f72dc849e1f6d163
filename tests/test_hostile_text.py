"""Text from strangers costs what it is worth: every function that reads it is fed the worst of it.

ENTRY_POINTS is the table of these functions; a new one is added here. Each gets every text of
tests/support/hostile.py with SIZE characters, the longest that the settings allow for a line or a field.
"""

from __future__ import annotations

import gc
import re
import time
import tracemalloc
from base64 import b64encode
from collections.abc import Callable, Iterable
from contextlib import suppress
from ipaddress import ip_network
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final, cast

import pytest
from aiohttp import HttpVersion11
from multidict import CIMultiDict, CIMultiDictProxy, MultiMapping
from yarl import URL

import gateway
from gateway.dataplane import access_log
from gateway.dataplane.exchange import Exchange
from gateway.errors import Refused
from gateway.http.client_address import TrustedProxies
from gateway.http.conditions import evaluate, range_applies
from gateway.http.fields import prefers_html
from gateway.http.forward_auth import read_original
from gateway.http.ranges import most_bytes, select_ranges
from gateway.http.repairs import likely_names
from gateway.http.request_tokens import request_token
from gateway.http.targets import is_auth_target, is_file_target, read_target
from gateway.mint.models import mint_model
from gateway.platforms.interface import Message
from gateway.platforms.registry import PLATFORMS
from gateway.secrets import redact, redact_url
from gateway.web.attempts import ClientAttempts
from gateway.web.authentication import bearer_key
from gateway.web.bodies import BODY_LIMIT, check_expectation, parse_json
from gateway.web.connection import ProblemConnection
from gateway.web.idempotency import idempotency_key
from gateway.web.models import NoParameters
from gateway.web.problems import Problem
from gateway.web.validation import validate, validate_query
from tests.support.hostile import bodies, ranges, texts
from tests.support.rows import each_row
from tests.support.timing import lasts

PACKAGE: Final = Path(gateway.__file__).parent
SIZE: Final = 16 * 1024
SHORT: Final = 256
MOST_SECONDS: Final = 0.001
PATIENCE: Final = 8
"""How much slower than a usual machine the one of the tests may be."""
MOST_MEMORY: Final = 1536 * 1024
"""Bytes that a call may have at once for 16 KiB: a text may be split into its characters, but once only."""
BODY_SECONDS: Final = 0.02
"""For 64 KiB: 32,000 numbers take half of it. Only bodies of known keys are longer than 4 KiB."""
ETAG: Final = '"' + "0" * 64 + '"'

PROXIES = TrustedProxies((ip_network("127.0.0.0/8"), ip_network("::/0")))
PROXY = ("127.0.0.1", 1)
MINT = mint_model(1000)


def fields(**lines: str) -> CIMultiDictProxy[str]:
    return CIMultiDictProxy(CIMultiDict({name.replace("_", "-"): value for name, value in lines.items()}))


def b64(text: str) -> str:
    return b64encode(text.encode("utf-8", "surrogateescape")).decode()


def logged(target: str, **lines: str) -> None:
    exchange = Exchange(cast(Any, None), "GET", target, fields(**lines), True, False)
    exchange.ended, exchange.status, exchange.code = exchange.started, 403, "token_invalid"
    access_log.format_line(exchange, "", 0.0)


CONNECTION: Final = ProblemConnection.__new__(ProblemConnection)
"""The connection of every request here: it counts invalid API keys, and is never over the line."""
CONNECTION.peer = ("127.0.0.1", 1)
CONNECTION.limits = SimpleNamespace(key_attempts=ClientAttempts(1_000_000, ()))  # type: ignore[assignment]


class Asked:
    """What the readers of a request to an API look at; aiohttp's own stand-in takes long to make."""

    version = HttpVersion11

    def __init__(self, query: str = "", **lines: str) -> None:
        self.headers = fields(**lines)
        self.rel_url = URL.build(path="/", query_string=query, encoded=True)
        self.protocol = CONNECTION

    @property
    def query(self) -> MultiMapping[str]:
        return self.rel_url.query


def parameters(text: str) -> None:
    validate_query(NoParameters, cast(Any, Asked(re.sub(r"[^!-~]", "", text))))


def field_reader(read: Callable[[Any], object], name: str) -> Callable[[str], object]:
    """A function of a request that reads one field."""
    return lambda text: read(Asked(**{name: text}))


def verify_webhook(kind: str, message: Message) -> None:
    PLATFORMS[kind].verify(message, ("secret", "other"), 1.0)


def signature_reader(kind: str, *names: str) -> Callable[[str], None]:
    """What checks a signature, with a text in each of its header fields."""
    return lambda text: verify_webhook(kind, Message(tuple((name, text) for name in names), b"{}", 0))


ENTRY_POINTS: Final[dict[str, Callable[[str], object]]] = {
    "the log's path": logged,
    "the log's agent": lambda text: logged("/", User_Agent=text),
    "the log's range": lambda text: logged("/", Range=text),
    "target": read_target,
    "name in the path": lambda text: read_target("/download/" + text),
    "query": lambda text: read_target("/download?" + text),
    "query of /auth": lambda text: read_target("/auth?" + text),
    "token in the query": lambda text: read_target("/download?token=" + text),
    "kind of a target": is_file_target,
    "kind of a target, /auth": is_auth_target,
    "token in the path": lambda text: read_target("/download/ct_" + text),
    "token in the path, glued": lambda text: read_target(f"/download/ct_{'a' * 43}{text}"),
    "text glued to a token": lambda text: read_target(f"/download?token=ct_{'a' * 43}{text}"),
    "text glued to a name": lambda text: list(likely_names("a" + text)),
    "bearer": lambda text: request_token(None, [text, "Bearer " + text, "Bearer ct_" + text]),
    "password": lambda text: request_token(None, ["Basic " + text, "Basic " + b64(text)]),
    "Accept": prefers_html,
    "Range": lambda text: select_ranges(text, 1 << 40),
    "Range of /auth": lambda text: most_bytes(text, 1 << 40),
    "If-Match": lambda text: evaluate("GET", fields(If_Match=text + ETAG), ETAG, 1),
    "If-None-Match": lambda text: evaluate("GET", fields(If_None_Match=f"{ETAG},{text}"), ETAG, 1),
    "If-Modified-Since": lambda text: evaluate("GET", fields(If_Modified_Since=text), ETAG, 1),
    "If-Unmodified-Since": lambda text: evaluate("GET", fields(If_Unmodified_Since=text), ETAG, 1),
    "If-Range": lambda text: range_applies(fields(If_Range=text), ETAG, 1),
    "X-Forwarded-For": lambda text: PROXIES.client(PROXY, fields(X_Forwarded_For=text)),
    "Forwarded": lambda text: PROXIES.client(PROXY, fields(Forwarded=text)),
    "both": lambda text: PROXIES.disputes(PROXY, fields(Forwarded=text, X_Forwarded_For=text)),
    "X-Original-URI": lambda text: read_original("GET", "/auth", fields(X_Original_URI=text)),
    "secrets in any text": redact,
    "secrets in a URL": redact_url,
    "API key": field_reader(bearer_key, "Authorization"),
    "Idempotency-Key": field_reader(idempotency_key, "Idempotency_Key"),
    "Expect": field_reader(check_expectation, "Expect"),
    "parameters of an API": parameters,
    "Stripe-Signature": signature_reader("stripe", "stripe-signature"),
    "Stripe-Signature, many": lambda text: signature_reader("stripe", "stripe-signature")("t=1,v1=" + text),
    "Paddle-Signature": signature_reader("paddle", "paddle-signature"),
    "webhook-signature": signature_reader("polar", "webhook-id", "webhook-timestamp", "webhook-signature"),
    "a signature in base64": signature_reader("shopify", "x-shopify-hmac-sha256"),
    "a signature in hex": signature_reader("lemonsqueezy", "x-signature"),
    "a secret at the end of a URL": lambda text: verify_webhook("gumroad", Message((), b"", 0, text)),
}


def attempt(read: Callable[[Any], object], text: object) -> None:
    with suppress(Refused, Problem):
        read(text)


def slowest(read: Callable[[Any], object], found: Iterable[Any]) -> tuple[float, Any]:
    """The longest time that a text takes, in the best of a few attempts, and that text."""
    worst = (0.0, None)
    for text in found:
        best = float("inf")
        for _ in range(5):
            begin = time.thread_time()
            attempt(read, text)
            best = min(best, time.thread_time() - begin)
            if best < MOST_SECONDS / 4:
                break
        worst = max(worst, (best, text), key=lambda pair: pair[0])
    return worst


@pytest.mark.slow
@pytest.mark.timing
@pytest.mark.parametrize("name", ENTRY_POINTS)
def test_the_work_is_bounded(name: str) -> None:
    seconds, text = slowest(ENTRY_POINTS[name], [*texts(SIZE), ranges(SIZE), ranges(1500)])
    print(f"{name}: {1000 * seconds:.2f} ms for {text[:24]!r}")
    with lasts(most=PATIENCE * MOST_SECONDS, clock=iter((0.0, seconds)).__next__):
        pass  # the best of a few attempts is what is compared


@each_row("name", ENTRY_POINTS)
def test_no_text_is_an_error(name: str) -> None:
    for text in (*texts(SHORT), ranges(SHORT)):
        attempt(ENTRY_POINTS[name], text)


@pytest.mark.slow
@pytest.mark.parametrize("name", ENTRY_POINTS)
def test_no_text_is_an_error_and_the_memory_is_bounded(name: str) -> None:
    """Only refusals may be raised. Memory is what the call has at once, and nothing of it is left."""
    read = ENTRY_POINTS[name]
    found = [*texts(SIZE), ranges(SIZE), ranges(1500)]
    for text in found:
        attempt(read, text)  # what is kept is there now
    gc.collect()
    tracemalloc.start()
    try:
        for text in found[:: 1 if len(found) < 100 else 7]:
            before = tracemalloc.get_traced_memory()[0]
            tracemalloc.reset_peak()
            attempt(read, text)
            assert tracemalloc.get_traced_memory()[1] - before < MOST_MEMORY, text[:40]
    finally:
        tracemalloc.stop()


@pytest.mark.slow
@pytest.mark.timing
def test_bodies_are_parsed_in_linear_time() -> None:
    def read(body: bytes) -> None:
        validate(MINT, parse_json(body))

    seconds, body = slowest(read, bodies(BODY_LIMIT))
    print(f"{1000 * seconds:.2f} ms for {body[:24]!r}")
    with lasts(most=PATIENCE * BODY_SECONDS, clock=iter((0.0, seconds)).__next__):
        pass


def test_every_body_is_refused_with_a_problem() -> None:
    for body in bodies(BODY_LIMIT):
        with pytest.raises(Problem) as refused:
            validate(MINT, parse_json(body))
        assert len(str(refused.value.document())) < 20_000


CACHES: Final = {
    # keyed by texts of clients, which are short where they are kept
    "gateway.dataplane.access_log": 1,  # _request: path and agent
    "gateway.http.client_address": 4,  # addresses, and X-Forwarded-For of up to CACHED_CHARACTERS
    "gateway.http.fields": 2,  # _kept_prefers_html: Accept; one is keyed by a number
    "gateway.orders.email_addresses": 1,  # _domain: what follows the @ of an address
    "gateway.usage.client_classes": 1,  # classify: an agent as an event has it
    # keyed by what a seller has published, by the settings, or by numbers
    "gateway.dataplane.authorise": 1,
    "gateway.http.file_names": 1,
    "gateway.http.pages": 2,
    "gateway.mint.routes": 1,
    "gateway.pages.messages": 1,  # one of LANGUAGES
    "gateway.pages.templates": 1,
    "gateway.pages.texts": 1,
    "gateway.runtime.log": 1,
    "gateway.storage.s3.signing": 2,
    "gateway.cli.__init__": 1,  # _commands: without a key
    "gateway.pages.assets": 1,  # _asset: files of ours, and the seller's style and logo from the settings
    "gateway.store.client_server": 1,  # driver_info: without a key
    "gateway.errors": 1,  # with_retry_after: one of a few numbers
    "gateway.tokens.caps": 1,  # read_caps: the line of a token, which we write
    "gateway.tokens.index": 1,
    "gateway.web.api.application": 1,
    "gateway.web.download_urls": 1,
    "gateway.web.models": 1,
    "gateway.database.migrating": 1,
    "gateway.web.quick_response": 1,
}
"""How many caches each module has. A new one is added here, after its keys were bounded in bytes, too; what
thousands of the longest keys leave behind is measured in tests/dataplane/test_hostile_requests.py."""


def test_every_cache_is_known() -> None:
    found = {}
    for file in sorted(PACKAGE.rglob("*.py")):
        count = len(re.findall(r"\blru_cache\(|^ *@(?:lru_)?cache\b", file.read_text(), re.MULTILINE))
        if count:
            module = ".".join(file.relative_to(PACKAGE.parent).with_suffix("").parts)
            found[module] = count
    assert found == CACHES
