"""Checks the listening addresses: each must be free, or used by a gateway that runs already.

Private ones are to be reached by few. An address of every network or of the Internet is a warning, because
nothing but a firewall may then keep strangers out.
"""

from __future__ import annotations

import errno
import http.client
import ipaddress
import json
import os
import socket
from typing import Final
from urllib.parse import urlsplit

from gateway.cli.checks import Finding, Level, failed, passed, warned
from gateway.config.settings import LISTENERS, Settings, address_of
from gateway.config.sources import toml_name
from gateway.runtime.addresses import Address, short_socket_path
from gateway.runtime.system_errors import describe
from gateway.supervisor.services import SERVICES

ANSWER_SECONDS: Final = 2.0
MAX_ANSWER: Final = 1 << 20
"""Bytes of an answer to read: it names each process of the gateway."""
PUBLIC: Final = frozenset(service.listen for service in SERVICES if service.is_public)
"""The settings whose addresses strangers may reach."""

WEB: Final = toml_name("web_listen")


def check_ports(settings: Settings) -> list[Finding]:
    """Check the address of each setting that says where something listens."""
    findings = []
    for name in LISTENERS:
        address = address_of(settings, name)
        if getattr(settings, name) is None and not settings.data.exists():
            finding = passed(toml_name(name), f"{address} is free")  # its folder is made when it is needed
        else:
            finding = _check(toml_name(name), address)
        reach = "" if name in PUBLIC or finding.level is not Level.OK else _reach(address)
        if reach:
            remedy = (
                f"set {toml_name(name)} to 127.0.0.1:{address.port}, or let a firewall keep strangers out"
            )
            finding = warned(toml_name(name), f"{finding.text}, and reachable {reach}", remedy)
        findings.append(finding)
    return findings


def _check(name: str, address: Address) -> Finding:
    remedy = f"stop what listens there, or change {name}"
    try:
        if address.is_unix:
            return _check_unix(name, address, remedy)
        _bind(address)
    except PermissionError:
        return failed(
            name, f"{address} may not be used by this user", f"choose a port from 1024 on for {name}"
        )
    except OSError as error:
        if error.errno == errno.EADDRNOTAVAIL and name == WEB:
            return _check_far(address)
        if error.errno != errno.EADDRINUSE:
            return failed(name, f"{address} cannot be used ({describe(error)})", f"change {name}")
        state = _gateway_state(address)
        if state == "ok":
            return passed(name, f"{address} is served by a running gateway")
        if state:
            text = f"{address} is served by a running gateway, which is {state}"
            return warned(name, text, f"wait while it starts, then see {address.url()}/healthz")
        return failed(name, f"{address} is in use by another program", remedy)
    return passed(name, f"{address} is free")


def _check_far(address: Address) -> Finding:
    """Check the address of a web process on another machine, to which workers pass requests on."""
    try:
        with socket.create_connection((address.host, address.port), timeout=ANSWER_SECONDS):
            return passed(WEB, f"{address} is on another machine, and answers")
    except OSError as error:
        text = f"{address} is on another machine, and cannot be reached ({describe(error)})"
        return failed(WEB, text, "start serve-web there, or change web.listen")


def _reach(address: Address) -> str:
    """Say from where an address that can be used is reached, if that is further than private networks."""
    if address.is_unix:
        return ""
    found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    host = ipaddress.ip_address(str(found[0][4][0]).partition("%")[0])
    host = getattr(host, "ipv4_mapped", None) or host
    if host.is_unspecified:
        return "in every network of this machine"
    return "from the Internet" if host.is_global else ""


def _bind(address: Address) -> None:
    found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    family, kind, protocol, _, socket_address = found[0]
    with socket.socket(family, kind, protocol) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(socket_address)
        probe.listen(1)  # another listener with SO_REUSEADDR shows only here


def _check_unix(name: str, address: Address, remedy: str) -> Finding:
    folder = os.path.dirname(address.path)
    if not os.access(folder, os.W_OK | os.X_OK):
        text = f"{folder} {'cannot be written' if os.path.isdir(folder) else 'is not a folder'}"
        return failed(name, text, f"make it writable for this user, or change {name}")
    if not os.path.lexists(address.path):
        return passed(name, f"{address} is free")
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(ANSWER_SECONDS)
        try:
            with short_socket_path(address.path) as path:
                probe.connect(path)
        except ConnectionRefusedError:
            return passed(name, f"{address} is free (a socket nobody listens on)")
        except OSError:
            return failed(name, f"{address.path} is not a socket", remedy)
    return passed(name, f"{address} is served by a running gateway")


def _gateway_state(address: Address) -> str:
    """What the gateway that listens at the address says of itself; "" if none of our services listens there.

    Each of them answers /healthz, with 503 while one of its processes is starting or does not work.
    """
    parts = urlsplit(address.url())
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=ANSWER_SECONDS)
    try:
        connection.request("GET", "/healthz")
        response = connection.getresponse()
        state = json.loads(response.read(MAX_ANSWER))["status"]
    except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError):
        return ""
    else:
        return state if response.status in (200, 503) and isinstance(state, str) else ""
    finally:
        connection.close()
