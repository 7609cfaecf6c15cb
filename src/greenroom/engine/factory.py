"""From an address to an engine that caches and sessions may share: they may live on one server or on two."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

from greenroom.callbacks import nothing_async
from greenroom.clock import SYSTEM, Clock
from greenroom.counters import Counters
from greenroom.detached import to_the_end
from greenroom.engine.address import Address
from greenroom.engine.engine import Engine
from greenroom.engine.limits import Limits
from greenroom.errors import InvalidInput

EMBEDDED = "embedded"
"""The address of the server that is started, or joined, in the data directory."""


def engine_at(
    address: Address,
    *,
    replica_reads: bool = False,
    before_connect: Callable[[], Awaitable[None]] = nothing_async,
    clock: Clock = SYSTEM,
    counters: Counters | None = None,
    limits: Limits | None = None,
) -> Engine:
    """The engine of a server, of a cluster, or of what sentinels watch, not started.

    Arguments:
        replica_reads: whether `read` may ask the replicas of a cluster.
        before_connect: called before each attempt to connect to one server.

    Raises:
        InvalidInput: if `replica_reads` is set for a standalone server.
    """
    # Only what an address needs is imported: a process mostly has one server, or one cluster.
    if address.cluster:
        from greenroom.engine.cluster.cluster import Clustered
        from greenroom.engine.cluster.replica_reads import ReplicaReads

        kind = ReplicaReads if replica_reads else Clustered
        return kind(address, clock=clock, counters=counters, limits=limits)
    if replica_reads:
        remedy = "name a cluster, as valkey+cluster://host:port, or leave it off"
        raise InvalidInput("replica_reads", f"{address} is one server, whose replicas are not known", remedy)
    if address.sentinels is not None:
        from greenroom.engine.server.sentineled import Sentineled

        return Sentineled(address, clock=clock, counters=counters, limits=limits)
    from greenroom.engine.server.standalone import Standalone

    return Standalone(address, before_connect=before_connect, clock=clock, counters=counters, limits=limits)


def open_engine(
    address: str,
    directory: Path | None,
    stack: AsyncExitStack,
    *,
    replica_reads: bool = False,
    clock: Clock,
    counters: Counters,
) -> Engine:
    """An engine not yet started, closed by the stack before the embedded server under it.

    Arguments:
        replica_reads: see `engine_at`.

    Raises:
        InvalidInput: for an address that is not valid, or an embedded server without a directory.
        MissingExtra: when the embedded server is not installed.
    """
    if address == EMBEDDED:
        if directory is None:
            raise InvalidInput("data_dir", "an embedded server needs a directory", "pass data_dir=")
        from greenroom.engine.embedded import EmbeddedServer

        server = EmbeddedServer(directory)
        stack.push_async_callback(to_the_end, server.close)
        at, before_connect = Address((), path=server.socket_path), server.ensure
    else:
        at, before_connect = Address.parse(address), nothing_async
    engine = engine_at(at, replica_reads=replica_reads, before_connect=before_connect, clock=clock, counters=counters)
    stack.push_async_callback(to_the_end, engine.close)
    return engine
