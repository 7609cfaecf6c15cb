"""From an address to an engine that several uses share: caches and sessions may live on one server or on two.

Which engine an address needs.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from greenroom.clock import Clock
from greenroom.detached import to_the_end
from greenroom.engine.address import Address
from greenroom.engine.cluster.cluster import Clustered
from greenroom.engine.cluster.replica_reads import ReplicaReads
from greenroom.engine.embedded import EmbeddedServer
from greenroom.engine.engine import Engine
from greenroom.engine.listener import KeyFilter
from greenroom.engine.scripts import Script
from greenroom.engine.server.standalone import Standalone
from greenroom.engine.transport.connection import Connection
from greenroom.engine.transport.supervisor import Channel
from greenroom.errors import InvalidInput
from greenroom.observe import Counters


def engine_at(
    address: Address,
    *,
    on_gained: Callable[[Channel, Connection, KeyFilter], None] = lambda *_: None,
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


EMBEDDED = "embedded"
"""The address of the server that is started, or joined, in the data directory."""


async def _nothing(_: Connection) -> None:
    """What most uses owe a new connection."""


def _none(_: Connection, __: KeyFilter) -> None:
    """What most uses owe a node that has taken slots over."""


@dataclass(frozen=True, slots=True)
class Use:
    """What one use of an engine needs of it; see `Clustered`."""

    scripts: tuple[Script, ...]
    on_invalidate: Callable[[bytes | None], None]
    on_lost: Callable[[KeyFilter], None]
    on_gained: Callable[[Connection, KeyFilter], None] = _none
    before_serving: Callable[[Connection], Awaitable[None]] = _nothing
    either_gained: Callable[[Connection, KeyFilter], None] = _none
    before_use: Callable[[Connection], Awaitable[None]] = _nothing
    """As the two before, on connections of both lanes; they on tracked ones only."""


def callbacks(uses: Sequence[Use]) -> dict[str, Any]:
    """What an engine is made with, so that all its uses have what they need; see `engine_at`."""

    def invalidated(name: bytes | None) -> None:
        for use in uses:
            use.on_invalidate(name)

    def lost(owns: KeyFilter) -> None:
        for use in uses:
            use.on_lost(owns)

    def gained(channel: Channel, connection: Connection, owns: KeyFilter) -> None:
        for use in uses:
            use.either_gained(connection, owns)
            if channel is Channel.TRACKED:
                use.on_gained(connection, owns)

    async def before_use(connection: Connection) -> None:
        for use in uses:
            await use.before_use(connection)

    async def before_serving(connection: Connection) -> None:
        for use in uses:
            await use.before_serving(connection)

    return {
        "scripts": tuple(script for use in uses for script in use.scripts),
        "on_invalidate": invalidated,
        "on_lost": lost,
        "on_gained": gained,
        "before_use": before_use,
        "before_serving": before_serving,
    }


def open_engine(
    address: str,
    directory: Path | None,
    uses: Sequence[Use],
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
        InvalidInput: for an address that cannot be, or an embedded server without a directory.
        MissingExtra: when the embedded server is not installed.
    """

    options = callbacks(uses) | {"replica_reads": replica_reads, "clock": clock, "counters": counters}
    if address == EMBEDDED:
        if directory is None:
            raise InvalidInput("data_dir", "an embedded server needs a directory", "pass data_dir=")
        server = EmbeddedServer(directory)
        stack.push_async_callback(to_the_end, server.close)
        engine = engine_at(Address((), path=server.socket_path), before_connect=server.ensure, **options)
    else:
        engine = engine_at(Address.parse(address), **options)
    stack.push_async_callback(to_the_end, engine.close)
    return engine
