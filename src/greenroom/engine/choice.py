"""Which engine an address needs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from greenroom.engine.address import Address
from greenroom.engine.cluster import Clustered
from greenroom.engine.connection import Connection
from greenroom.engine.engine import Engine
from greenroom.engine.link import Lane
from greenroom.engine.share import Owns
from greenroom.engine.standalone import Standalone


def engine_at(
    address: Address, *, on_gained: Callable[[Lane, Connection, Owns], None] = lambda *_: None, **options: Any
) -> Engine:
    """The engine of a server or of a cluster, not started.

    Arguments:
        on_gained: see `Clustered`; one server takes nothing over.
        options: what both engines take.
    """
    if address.cluster:
        return Clustered(address, on_gained=on_gained, **options)
    return Standalone(address, **options)
