"""Settings that name hosts: origins of pages, hosts to answer for, and proxies."""

from __future__ import annotations

import ipaddress
import re

from greenroom.errors import InvalidInput

_ORIGIN = re.compile(r"(https?)://([a-z0-9._-]+|\[[0-9a-f:.]+\])(?::([0-9]{1,5}))?")
# As `Host` has them, without the port; `*.` before a name means every host below it.
_HOST = re.compile(r"(?:\*\.)?[a-z0-9_](?:[a-z0-9._-]*[a-z0-9_])?|\[[0-9a-f:.]+\]")
_DEFAULT_PORTS = {"http": 80, "https": 443}
_LAST_PORT = 65_535


def origins(name: str, text: str) -> tuple[str, ...]:
    """Origins with commas between them, each as browsers send it: whatever else would never equal one.

    Raises:
        InvalidInput: naming the setting, and how the origin is written.
    """
    found = tuple(origin.strip().lower() for origin in text.split(",") if origin.strip())
    for origin in found:
        parts = _ORIGIN.fullmatch(origin)
        if parts is None or not _is_literal(parts[2]):
            raise InvalidInput(name, f"{origin!r} is not an origin", "write them like https://example.org, with commas")
        if parts[3] is not None and not 0 < int(parts[3]) <= _LAST_PORT:
            raise InvalidInput(name, f"{origin!r} has no port that there is", f"use a port from 1 to {_LAST_PORT}")
        sent = _as_sent(*parts.groups())
        if origin != sent:
            # RFC 6454, 6.2, and the WHATWG's URL standard: "host serializing", "port".
            raise InvalidInput(name, f"{origin!r} is not how browsers write this origin", f"write {sent}")
    return found


def hosts(name: str, text: str) -> tuple[str, ...]:
    """Hosts with commas between them, as `Host` has them without a port.

    Raises:
        InvalidInput: naming the setting.
    """
    found = tuple(host.strip().lower().removesuffix(".") for host in text.split(",") if host.strip())
    for host in found:
        if _HOST.fullmatch(host) is None or not _is_literal(host):
            reason = f"{host[:80]!r} is not a host"
            raise InvalidInput(name, reason, "write hosts like example.org,*.example.org, without scheme, port or path")
    return found


def proxies(name: str, text: str) -> tuple[str, ...]:
    """Addresses and networks with commas between them.

    Raises:
        InvalidInput: naming the setting.
    """
    networks = tuple(network.strip() for network in text.split(",") if network.strip())
    for network in networks:
        try:
            ipaddress.ip_network(network)
        except ValueError:
            raise InvalidInput(
                name, f"{network!r} is not an address or network", "write them like 10.0.0.1,10.1.0.0/16"
            ) from None
    return networks


def _as_sent(scheme: str, host: str, port: str | None) -> str:
    """An origin as browsers send it: without a default port, and of numbers the shortest form."""
    if host.startswith("["):
        address = ipaddress.IPv6Address(host[1:-1])
        # Python's versions differ over one that embeds an IPv4 address.
        host = host if address.ipv4_mapped is not None else f"[{address.compressed}]"
    number = None if port is None else int(port)
    return f"{scheme}://{host}" if number in (None, _DEFAULT_PORTS[scheme]) else f"{scheme}://{host}:{number}"


def _is_literal(host: str) -> bool:
    """Whether what stands in brackets is an IPv6 address; true for a name."""
    if not host.startswith("["):
        return True
    try:
        ipaddress.IPv6Address(host[1:-1])
    except ValueError:
        return False
    return True
