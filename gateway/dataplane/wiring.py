"""Builds the parts of a worker from the settings.

Only this module and worker.py read the settings. All other modules of the data plane get the values that they
need.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from gateway.config.portal_link import leads_to_portal
from gateway.config.settings import Settings, address_of, base_url
from gateway.config.storages import LocalSettings
from gateway.dataplane.access_log import AccessLog
from gateway.dataplane.attempt_guard import AttemptGuard
from gateway.dataplane.authorise import Authorisation
from gateway.dataplane.client_limits import ClientLimits
from gateway.dataplane.download import Downloads
from gateway.dataplane.ending import Endings
from gateway.dataplane.event_log import EventLog
from gateway.dataplane.exchange import Exchange, unread_exchange
from gateway.dataplane.fast_path import FastPath
from gateway.dataplane.health import HealthAndPreflight
from gateway.dataplane.manifest_cache import ManifestCache
from gateway.dataplane.passing import Passing
from gateway.dataplane.request_reader import RequestReader
from gateway.dataplane.resolve import Resolver
from gateway.dataplane.running_list import RunningList
from gateway.dataplane.server import Server
from gateway.dataplane.timeouts import Limits
from gateway.dataplane.token_limits import TokenLimits
from gateway.dataplane.traced_downloads import TracedDownloads, TracedReader, recording_traces
from gateway.http.client_address import TrustedProxies
from gateway.runtime.attempts import Attempts, AttemptTable
from gateway.runtime.descriptors import Shares, descriptor_limit, share_descriptors
from gateway.runtime.metrics import (
    FIRST_BYTE,
    REFUSALS,
    RESPONSE_OTHER,
    RESPONSES,
    STORE_REPLY,
    Counters,
)
from gateway.runtime.running_counts import RunningCounts
from gateway.runtime.tracing import Tracing
from gateway.storage.registry import CacheSettings, Storages
from gateway.store.key_names import EVENT_STREAMS
from gateway.store.scripts import SCRIPTS
from gateway.store.topology import Topology
from gateway.tokens.caps import BINDINGS, Caps
from gateway.tokens.claims import Claims
from gateway.tokens.leases import Leases, Times
from gateway.tokens.places import Places
from gateway.tokens.takeovers import Takeovers
from gateway.tokens.transfers import Transfers
from gateway.usage.event_queue import EventQueue

TRACED_AS: Final = "download-gateway-worker"
"""The name of the service in traces."""


@dataclass(frozen=True)
class Worker:
    """The parts of one data plane process."""

    server: Server
    claims: Claims
    takeovers: Takeovers
    topology: Topology
    storages: Storages
    access_log: AccessLog | None
    event_log: EventLog
    events: EventQueue
    tracing: Tracing | None


def build_worker(
    settings: Settings,
    counters: Counters,
    lease_times: Times | None = None,
    slot: int = 0,
    attempts: AttemptTable | None = None,
) -> Worker:
    """Build the parts; to be called while the event loop runs. `settings.redis_url` must be set.

    attempts: the table that the workers of this machine share; without it, this worker counts by itself.
    """
    assert settings.redis_url is not None
    shares = _share_descriptors(settings)
    topology = Topology.connect(
        [settings.redis_url],
        timeout=settings.redis_timeout,
        queue=settings.redis_queue,
        scripts=SCRIPTS,
    )
    topology.call_when_timed(partial(counters.observe, STORE_REPLY))
    claims = Claims(topology)
    proxies = TrustedProxies(settings.trusted_proxies, settings.exempt_clients)

    def client(exchange: Exchange) -> str:
        return proxies.client(exchange.connection.peer, exchange.headers, exchange.forwarded)

    access_log = None if settings.access_log == "off" else AccessLog(str(settings.access_log), client)
    events = EventQueue(
        topology,
        counters,
        settings.data,
        slot,
        most=settings.usage_max_bytes // EVENT_STREAMS,
        file_most=settings.usage_file_max_bytes,
    )
    event_log = EventLog(events.worker, events.put, client)
    storages = Storages.of(
        settings,
        shares.files,
        count=counters.add,
        cache=CacheSettings(settings.cache_path, settings.cache_max_bytes) if settings.cache_path else None,
    )
    storages.prepare()
    guard = AttemptGuard(Attempts(settings.max_attempts, attempts), proxies)
    endings = Endings(counters, guard)
    default = _default_caps(settings)
    fast_path = FastPath(counters, guard, keeps=not (default.is_paced or default.binding))
    resolver = Resolver(claims, ManifestCache(), storages)
    leases = Leases(topology, lease_times)
    takeovers = Takeovers(topology, leases, [settings.redis_url])
    places = Places(topology, takeovers, lease_times)
    token_limits = TokenLimits(topology, places, proxies, default)
    transfers = Transfers(topology)
    takeovers.on_revoked = transfers.break_off
    takeovers.on_asked = RunningList(transfers, topology, client).answer
    tracing = Tracing.of(settings.traces_share, settings.traces_endpoint, TRACED_AS)
    make_downloads = Downloads if tracing is None else partial(TracedDownloads, tracing, proxies)
    downloads = make_downloads(
        claims,
        leases,
        takeovers,
        resolver,
        Authorisation(claims, resolver, proxies, _accel_prefixes(settings), fast_path, guard, token_limits),
        fast_path,
        endings,
        proxies,
        settings.public_url or "",
        base_url(settings),
        counters,
        guard,
        token_limits,
        ClientLimits(RunningCounts(settings.max_address_connections, attempts), proxies),
        transfers,
    )
    recorder = Recorder(counters, access_log, event_log)
    health = HealthAndPreflight(claims, endings, proxies)
    limits = Limits(
        header_timeout=settings.header_timeout,
        keepalive_timeout=settings.keepalive_timeout,
        stall_timeout=settings.stall_timeout,
        max_connections=shares.connections,
        max_line=settings.max_line,
        max_field=settings.max_field,
        max_headers=settings.max_headers,
        max_head=settings.max_head,
    )
    passing = Passing(address_of(settings, "web_listen"), endings, proxies, limits)
    server = Server(
        downloads.begin,
        health.answer,
        recorder.record if tracing is None else recording_traces(recorder.record, tracing),
        recorder.record_unread,
        counters,
        limits,
        settings.cors_origins,
        is_https=settings.tls_cert is not None,
        every_second=(guard.tick, places.tick, transfers.tick),
        pass_on=passing.begin,
        reader=RequestReader if tracing is None else TracedReader,
        leads_to_portal=leads_to_portal(settings),
    )
    return Worker(server, claims, takeovers, topology, storages, access_log, event_log, events, tracing)


def _accel_prefixes(settings: Settings) -> dict[str, str]:
    return {
        name: table.accel_prefix
        for name, table in settings.storage.items()
        if isinstance(table, LocalSettings)
    }


def _default_caps(settings: Settings) -> Caps:
    """The limits of tokens that have none of their own."""
    binding = settings.token_binding if settings.token_binding in BINDINGS else ""
    return Caps(
        settings.max_token_connections, settings.max_token_rate, settings.max_connection_rate, binding
    )


def _share_descriptors(settings: Settings) -> Shares:
    """Share this process' descriptors out. The supervisor logs where they are too few for the settings."""
    return share_descriptors(
        descriptor_limit(), settings.max_connections, settings.open_files, settings.descriptors_each
    )


class Recorder:
    """Counts answers, and hands ended exchanges to the access log, if any, and to the log of events."""

    def __init__(self, counters: Counters, log: AccessLog | None, events: EventLog) -> None:
        self._count = counters.add
        self._observe = counters.observe
        self._add_event = events.add
        self._log = log

    def record(self, exchange: Exchange) -> None:
        """Record a request that has ended."""
        self._count(RESPONSES.get(exchange.status, RESPONSE_OTHER))
        self._observe(FIRST_BYTE, (exchange.answered or exchange.ended) - exchange.started)
        if exchange.code:
            self._count(REFUSALS[exchange.code])
        if exchange.served is not None and exchange.sent:
            self._add_event(exchange)
        if self._log is not None:
            self._log.add(exchange)

    def record_unread(self, peer: Any, status: int, code: str) -> None:
        """Record a connection that ended before a request of it was read.

        code: of a refusal, or why the connection was closed. status: 0 if nothing was answered.
        """
        if status and code in REFUSALS:
            self._count(RESPONSES.get(status, RESPONSE_OTHER))
            self._count(REFUSALS[code])
        if self._log is not None:
            self._log.add(unread_exchange(peer, status, code))
