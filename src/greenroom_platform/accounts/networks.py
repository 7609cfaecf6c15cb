"""What counts as one client address."""

from __future__ import annotations

import ipaddress


def network(address: str) -> str:
    """What counts as one address: of IPv6 the /64, since one client has them all."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv4Address):
        return str(parsed)
    return str(parsed.ipv4_mapped or ipaddress.ip_network((int(parsed) >> 64 << 64, 64)))
