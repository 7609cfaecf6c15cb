"""Which engine an address needs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from greenroom.engine.address import Address
from greenroom.engine.cluster.cluster import Clustered
from greenroom.engine.cluster.replica_reads import ReplicaReads
from greenroom.engine.engine import Engine
from greenroom.engine.listener import Owns
from greenroom.engine.server.standalone import Standalone
from greenroom.engine.transport.connection import Connection
from greenroom.engine.transport.supervisor import Lane
from greenroom.errors import InvalidInput


def engine_at(
    address: Address,
    *,
    on_gained: Callable[[Lane, Connection, Owns], None] = lambda *_: None,
    replica_reads: bool = False,
    **options: Any,
) -> Engine:
    """The engine of a server or of a cluster, not started.

    Arguments:
        on_gained: see `Clustered`; one server takes nothing over.
        replica_reads: whether `read` may ask the replicas of a cluster.
        options: what all engines take.

    Raises:
        InvalidInput: where one server is to be read from at its replicas.
    """
    if address.cluster:
        kind = ReplicaReads if replica_reads else Clustered
        return kind(address, on_gained=on_gained, **options)
    if replica_reads:
        remedy = "name a cluster, as valkey+cluster://host:port, or leave it off"
        raise InvalidInput("replica_reads", f"{address} is one server, whose replicas are not known", remedy)
    return Standalone(address, **options)
