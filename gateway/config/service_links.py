"""The environment variables that Kubernetes and Docker make for services. They are no settings of ours.

Kubernetes sets variables in every pod for each Service of the namespace, and Docker sets them for each
container that is linked (`--link`). Their names begin with the service's name, in capitals and with `_` for
`-`. So those of a service called `gateway-redis` begin with our prefix. With SERVICE for that name:

    SERVICE_SERVICE_HOST=10.96.0.17     SERVICE_PORT=tcp://10.96.0.17:6379
    SERVICE_SERVICE_PORT=6379           SERVICE_PORT_6379_TCP=tcp://10.96.0.17:6379
    SERVICE_SERVICE_PORT_HTTP=6379      SERVICE_PORT_6379_TCP_PROTO=tcp, …_PORT=6379, …_ADDR=10.96.0.17

Docker alone sets the ends of a row of ports (SERVICE_PORT_6379_TCP_START, …_END, …_PORT_START, …_PORT_END),
the container's name (SERVICE_NAME=/shop/redis), and a copy of its environment (SERVICE_ENV_PATH=/usr/bin).

Rules:

1. A variable that is a setting is always read as that setting. Hence no setting may have a name of these
   forms: tests/config/test_service_links.py fails for one that has.
2. Most of these forms have an ending that nobody would write by mistake, so the name is enough.
3. SERVICE_PORT may also be a mistaken setting (`GATEWAY_REDIS_PORT=6379`), so its value decides: a service
   has a URL. SERVICE_NAME and SERVICE_ENV_… count only beside such a SERVICE_PORT.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

_BY_NAME: Final = re.compile(
    r"\w*[A-Z0-9]_(SERVICE_(HOST|PORT(_[A-Z0-9]+)*)"
    r"|PORT_\d{1,5}_(TCP|UDP|SCTP)(_(PROTO|ADDR|PORT|(PORT_)?(START|END)))?)",
    re.ASCII,
)
"""A service's name does not end with a hyphen, and a port's name has no two hyphens in a row. So a key of a
storage's table (GATEWAY_STORAGE__NAME__KEY) has none of these names, whatever the storage is called."""
_PORT: Final = re.compile(r"(?P<service>\w*[A-Z0-9])_PORT", re.ASCII)
_URL: Final = re.compile(r"(tcp|udp|sctp)://[^/\s]+:\d{1,5}", re.ASCII)


def has_form_of_link(name: str) -> bool:
    """Whether Kubernetes could make a variable of this name for some service."""
    return bool(_BY_NAME.fullmatch(name) or _PORT.fullmatch(name))


def find_service_links(environ: Mapping[str, str]) -> frozenset[str]:
    """Find the names of the variables that were made for services, and not by a person."""
    ports = {
        name: match["service"]
        for name, value in environ.items()
        if (match := _PORT.fullmatch(name)) and _URL.fullmatch(value)
    }
    of_containers = tuple(f"{service}_ENV_" for service in ports.values())
    names = {f"{service}_NAME" for service in ports.values()}
    return frozenset(
        name
        for name in environ
        if name in ports or name in names or name.startswith(of_containers) or _BY_NAME.fullmatch(name)
    )
