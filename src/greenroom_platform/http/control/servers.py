"""The key-value servers as INFO tells of them: asked over a connection of its own, and only while somebody looks.

A server that does not answer costs a second here, and nothing of the service's own connections.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from time import monotonic

import msgspec

from greenroom.engine import Address, Engine
from greenroom.engine.operator import Shard, find_shards, looking
from greenroom.errors import EngineError
from greenroom.inspection.status import ServerLine

_SECTIONS = ("server", "memory", "stats", "clients", "replication", "keyspace")
_WITHIN = 1.0
"""Seconds that a server has to answer."""
_KEPT = 4.0
"""Seconds for which what a server has told is told again."""
_REPLICAS = 16


class ReplicaView(msgspec.Struct, frozen=True, kw_only=True):
    """A replica, as its primary tells: the bytes that it is behind, and the seconds since it said so."""

    name: str
    state: str
    behind_bytes: int
    lag_seconds: int


class ServerView(msgspec.Struct, frozen=True, kw_only=True):
    """A server, or the primary of a shard.

    Arguments:
        uses: what is kept there, as "caches and sessions".
        error: why nothing else is known.
        answered_ms: how long it took to answer just now, on a connection that was there.
        bound: bytes of `maxmemory`; 0 for none.
        tracked_keys: keys of which it will tell a process that they have changed.
    """

    name: str
    uses: str
    error: str | None = None
    answered_ms: float | None = None
    version: str = ""
    role: str = ""
    keys: int = 0
    used: int = 0
    bound: int = 0
    policy: str = ""
    evicted: int = 0
    expired: int = 0
    clients: int = 0
    tracking_clients: int = 0
    tracked_keys: int = 0
    commands_per_second: int = 0
    uptime_seconds: int = 0
    replicas: tuple[ReplicaView, ...] = ()

    @property
    def line(self) -> ServerLine:
        """What `greenroom status` takes."""
        return ServerLine(address=self.name, error=self.error, used=self.used, bound=self.bound)


class Servers:
    """The servers of a room.

    Arguments:
        engines: by what is kept on them.
    """

    def __init__(self, engines: Mapping[str, Engine]) -> None:
        self._engines = engines
        self._found: tuple[ServerView, ...] = ()
        self._at = float("-inf")
        self._asking: asyncio.Task[tuple[ServerView, ...]] | None = None

    async def views(self) -> tuple[ServerView, ...]:
        """Every server; of several who ask at once one does."""
        if monotonic() - self._at < _KEPT:
            return self._found
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._ask(), name="greenroom-control-servers")
        return await asyncio.shield(self._asking)

    async def close(self) -> None:
        """Stop asking."""
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.wait([self._asking])

    async def _ask(self) -> tuple[ServerView, ...]:
        asked = (_views(uses, engine.address) for uses, engine in self._engines.items())
        self._found = tuple(view for views in await asyncio.gather(*asked) for view in views)
        self._at = monotonic()
        return self._found


async def _views(uses: str, address: Address) -> list[ServerView]:
    try:
        async with asyncio.timeout(_WITHIN):
            shards = await find_shards(address)
    except (EngineError, TimeoutError) as error:
        return [ServerView(name=str(address), uses=uses, error=str(error) or "no answer in time")]
    return list(await asyncio.gather(*(_view(uses, shard) for shard in shards)))


async def _view(uses: str, shard: Shard) -> ServerView:
    name = str(shard.primary)
    try:
        async with asyncio.timeout(_WITHIN), looking(shard) as look:
            began = monotonic()
            await look.ask("PING")
            took = (monotonic() - began) * 1000
            told = await look.info(*_SECTIONS)
    except (EngineError, TimeoutError) as error:
        return ServerView(name=name, uses=uses, error=str(error) or "no answer in time")

    def number(field: str) -> int:
        text = told.get(field, "")
        return int(text) if text.isdecimal() else 0

    return ServerView(
        name=name,
        uses=uses,
        answered_ms=round(took, 2),
        version=told.get("valkey_version") or told.get("redis_version") or "",
        role="primary" if told.get("role") == "master" else "replica",
        keys=_keys(told),
        used=number("used_memory"),
        bound=number("maxmemory"),
        policy=told.get("maxmemory_policy", ""),
        evicted=number("evicted_keys"),
        expired=number("expired_keys"),
        clients=number("connected_clients"),
        tracking_clients=number("tracking_clients"),
        tracked_keys=number("tracking_total_keys"),
        commands_per_second=number("instantaneous_ops_per_sec"),
        uptime_seconds=number("uptime_in_seconds"),
        replicas=_replicas(told),
    )


def _pairs(text: str) -> dict[str, str]:
    return dict(pair.partition("=")[::2] for pair in text.split(","))


def _keys(told: Mapping[str, str]) -> int:
    databases = (_pairs(text) for name, text in told.items() if name.startswith("db") and name[2:].isdecimal())
    return sum(int(one["keys"]) for one in databases if one.get("keys", "").isdecimal())


def _replicas(told: Mapping[str, str]) -> tuple[ReplicaView, ...]:
    offset = int(told.get("master_repl_offset", "0") or 0)
    found = []
    for number in range(_REPLICAS):
        if (text := told.get(f"slave{number}")) is None:
            continue
        one = _pairs(text)
        there, lag = one.get("offset", ""), one.get("lag", "")
        found.append(
            ReplicaView(
                name=f"{one.get('ip', '')}:{one.get('port', '')}",
                state=one.get("state", ""),
                behind_bytes=max(0, offset - int(there)) if there.isdecimal() else 0,
                lag_seconds=int(lag) if lag.isdecimal() else 0,
            )
        )
    return tuple(found)
