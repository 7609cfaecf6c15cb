"""When the certificate of a server ends; one that has ended already is refused at the log-in, and told of there."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from greenroom.engine import Address
from greenroom.errors import EngineUnavailable
from greenroom.findings import Finding, NotChecked, error, warning

_DAY = 86_400.0
SOON, VERY_SOON = 30.0, 7.0
"""Days before its end from which a certificate is warned of, and from which it is an error."""
_WITHIN = 2.0


async def certificate(address: Address, now: datetime) -> Sequence[Finding]:
    """What is to be said of the end of a server's certificate.

    Raises:
        NotChecked: for an address without TLS.
        EngineUnavailable: when it cannot be reached.
    """
    if address.tls is None:
        raise NotChecked(f"{address} is not encrypted")
    ends = await asyncio.to_thread(_ends, address)
    return lapse(str(address), (ends - now.timestamp()) / _DAY, datetime.fromtimestamp(ends, UTC))


def lapse(server: str, days: float, ends: datetime) -> Sequence[Finding]:
    """What is to be said of a certificate with so many days left."""
    if days > SOON:
        return ()
    make = error if days <= VERY_SOON else warning
    what = f"the certificate of {server} ends in {days:.0f} days, on {ends:%Y-%m-%d}"
    why = "from then on no process can connect: reads go to the record, and nobody is signed in"
    return (
        make(
            "certificate_ends",
            what,
            why,
            "renew it, and have the server read it: valkey-cli CONFIG SET tls-cert-file …",
        ),
    )


def _ends(address: Address) -> float:
    """The moment in which its certificate ends, in seconds since 1970; blocks."""
    assert address.tls is not None
    host, port = address.hosts[0]
    try:
        with (
            socket.create_connection((host, port), timeout=_WITHIN) as plain,
            address.tls.context().wrap_socket(plain, server_hostname=address.tls.server_name or host) as encrypted,
        ):
            presented: dict[str, Any] = encrypted.getpeercert() or {}
    except (OSError, ssl.SSLError) as failure:
        raise EngineUnavailable(f"{address} cannot be reached: {failure}") from None
    return float(ssl.cert_time_to_seconds(presented["notAfter"]))
