"""`ControlRoom`: gathers what operators are shown of one service, and counts in the background what charts need."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic, time
from typing import Any

from greenroom.caching import Cache
from greenroom.keyspace import Keyspace
from greenroom_platform.domain.action_log import OutboxState
from greenroom_platform.domain.heartbeats import own_name
from greenroom_platform.http.control.history import STEP, OutcomeHistory, Ring, quantile_ms, summed_by
from greenroom_platform.http.control.processes import LOADS_SHOWN, Load, Processes, ProcessView
from greenroom_platform.http.control.servers import Servers, ServerView
from greenroom_platform.http.control.summary import (
    KeyspaceNow,
    NearNow,
    NodeTimes,
    OutboxNow,
    ProcessesNow,
    QueueNow,
    SessionsNow,
    Summary,
)
from greenroom_platform.http.control.summary_parts import SummaryParts
from greenroom_platform.http.control.trouble import Since, findings, health_sentence
from greenroom_platform.http.metrics import Metrics
from greenroom_platform.http.totals import Totals
from greenroom_platform.platform import Platform

log = logging.getLogger("greenroom.http")

PUSH = 2.0
"""Seconds between two summaries that are pushed."""
STREAM = 15 * 60.0
"""Seconds after which a stream ends, and its page asks again, with whatever rights it has by then."""
_SHARED = 0.9
"""Seconds for which one summary is everybody's."""
_WINDOW, _LONG = 60.0, 15 * 60.0
_REFUSED = "token_unknown", "token_malformed"

Health = Callable[[], Awaitable[dict[str, str]]]


class ControlRoom:
    """What operators are shown by one process.

    Arguments:
        health: how the service and its parts are.
        shared: the directory that all workers of the service write to; None for a single one.
    """

    def __init__(self, platform: Platform, metrics: Metrics, health: Health, shared: Path | None) -> None:
        self._platform = platform
        self._metrics = metrics
        self._health = health
        self._ring = Ring()
        self._since = Since()
        self.process = own_name()
        """This process."""
        self._servers = Servers(platform.room.engines)
        self.processes = Processes(shared, self._view, self._cancel)
        """The processes of this service."""
        self._summary: Summary | None = None
        self._made = float("-inf")
        self._making: asyncio.Task[Summary] | None = None
        self._parts = SummaryParts(platform)

    @property
    def caches(self) -> dict[str, Cache[Any]]:
        """The caches by the names of their keyspaces."""
        return {one.keyspace.name: one for one in self._platform.room.caches}

    @asynccontextmanager
    async def counting(self) -> AsyncIterator[None]:
        """Inside the block, take samples, and tell siblings what this process does."""
        tasks: list[asyncio.Task[Any]] = [
            asyncio.create_task(self._sample(), name="greenroom-control-samples"),
            asyncio.create_task(self.processes.run(), name="greenroom-control-processes"),
        ]
        try:
            yield
        finally:
            if self._making is not None:
                tasks.append(self._making)
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            await self._servers.close()

    def history(self) -> OutcomeHistory:
        """The charts."""
        return self._ring.history(self.caches)

    def forget(self) -> None:
        """What was told is old: somebody has changed something."""
        self._made = float("-inf")

    async def summary(self) -> Summary:
        """Everything else. Of several who ask at once one is worked for."""
        if self._summary is not None and monotonic() - self._made < _SHARED:
            return self._summary
        if self._making is None or self._making.done():
            self._making = asyncio.create_task(self._make(), name="greenroom-control-summary")
        return await asyncio.shield(self._making)

    async def follow(self) -> AsyncGenerator[Summary, None]:
        """A summary now, and another each two seconds, for a while."""
        end = monotonic() + STREAM
        while monotonic() < end:
            yield await self.summary()
            await asyncio.sleep(PUSH)

    # Making it -------------------------------------------------------------------------------------

    async def _make(self) -> Summary:
        began = monotonic()
        of_record = asyncio.gather(self._health(), self._parts.outbox(), self._parts.queue(), self._parts.actions())
        of_servers = asyncio.gather(self._servers.views(), self._parts.presence(), self._parts.alive())
        (health, outbox, queue, actions), (servers, sessions, processes) = await asyncio.gather(of_record, of_servers)
        now, totals = datetime.now(UTC), self._metrics.totals()
        at = time()
        elapsed, minute = self._ring.since(_WINDOW, at, totals)
        _, long = self._ring.since(_LONG, at, totals)
        found = self._findings(health, servers, outbox, queue, processes, now)
        views = self.processes.views()
        self._summary = Summary(
            at=now,
            process=self.process,
            status=health["status"],
            sentence=health_sentence(found, [one.line for one in servers], totals),
            troubles=tuple(self._since.note(found, now)),
            flow=self._ring.flow(None, elapsed, minute),
            keyspaces=tuple(self._keyspace(cache, elapsed, minute, long) for cache in self.caches.values()),
            near=NearNow(
                processes=len(views),
                entries=sum(one.near_entries for one in views),
                bytes=sum(one.near_bytes for one in views),
                unsent_drops=sum(one.unsent_drops for one in views),
            ),
            loads=tuple(load for one in views for load in one.loads)[:LOADS_SHOWN],
            outbox=outbox,
            queue=queue,
            sessions=_rated(sessions, elapsed, minute),
            servers=servers,
            node_times=tuple(
                NodeTimes(node=node, writes=sum(bars), p50_ms=quantile_ms(bars, 0.5), p99_ms=quantile_ms(bars, 0.99))
                for node, bars in sorted(minute.commands.items())
            ),
            processes=processes,
            actions=actions if isinstance(actions, tuple) else (),
            actions_error=actions if isinstance(actions, str) else None,
        )
        self._made = began
        return self._summary

    def _findings(
        self,
        health: dict[str, str],
        servers: tuple[ServerView, ...],
        outbox: OutboxNow,
        queue: QueueNow,
        processes: ProcessesNow,
        now: datetime,
    ) -> list[Any]:
        oldest = outbox.oldest_seconds
        state = None
        if outbox.error is None and oldest is not None:
            state = OutboxState(pending=outbox.pending, oldest=datetime.fromtimestamp(now.timestamp() - oldest, UTC))
        workers = None if processes.error else sum(one.role == "work" for one in processes.alive)
        return findings(
            health,
            [one.line for one in servers],
            outbox=state,
            pause=queue.paused,
            waiting=queue.unfinished,
            oldest=queue.oldest_seconds,
            workers=workers,
            now=now,
        )

    def _keyspace(self, cache: Cache[Any], elapsed: float, minute: Totals, long: Totals) -> KeyspaceNow:
        keyspace = cache.keyspace
        name, events = keyspace.name, summed_by(long.events, keyspace.name)
        loads = long.loads.get(name, [])
        return KeyspaceNow(
            name=name,
            title=keyspace.title,
            purpose=keyspace.purpose,
            pattern=keyspace.pattern.prefix + keyspace.pattern.text,
            parts=_parts(keyspace),
            groups=tuple(group.text for group in cache.group_patterns),
            ttl_seconds=keyspace.lifetime.ttl_ms / 1000,
            fresh_seconds=keyspace.lifetime.fresh_ms / 1000,
            flow=self._ring.flow(name, elapsed, minute),
            p50_ms=quantile_ms(loads, 0.5),
            p99_ms=quantile_ms(loads, 0.99),
            loads=sum(loads),
            lease_waits=events.get("lease_wait", 0),
            refused_fills=events.get("fill_refused", 0),
            refreshes=events.get("refresh", 0),
            troubles=summed_by(long.errors, name),
        )

    # In the background -----------------------------------------------------------------------------

    async def _sample(self) -> None:
        while True:
            self._ring.add(time(), self._metrics.totals())
            try:
                await self._look()
            except Exception:  # nobody waits for it: the next look may be better
                log.exception("the control room could not look at the service")
            await asyncio.sleep(STEP)

    async def _look(self) -> None:
        """Notice what is ill although nobody looks, so that it is known since when."""
        if monotonic() - self._made < STEP:
            return
        health = await self._health()
        now, outbox, queue = datetime.now(UTC), await self._parts.outbox(), QueueNow()
        # Of what is not asked here, servers and workers, it is known since somebody has looked.
        self._since.note(self._findings(health, (), outbox, queue, ProcessesNow(error="not asked"), now), now)

    def _view(self) -> ProcessView:
        room = self._platform.room.state()
        loads = sorted(
            (
                Load(process=self.process, keyspace=name, key=one.key, seconds=round(one.age, 3), waiting=one.waiting)
                for name, cache in self.caches.items()
                for one in cache.loads()
            ),
            key=lambda load: -load.seconds,
        )
        return ProcessView(
            process=self.process,
            near_entries=room.near_entries,
            near_bytes=room.near_bytes,
            unsent_drops=room.unsent_drops,
            unsent_changes=self._platform.outbox.unsent,
            loads=tuple(loads[:LOADS_SHOWN]),
        )

    def _cancel(self, keyspace: str, key: str) -> int:
        cache = self.caches.get(keyspace)
        return 0 if cache is None else cache.cancel_load(key)


def _rated(sessions: SessionsNow, elapsed: float, minute: Totals) -> SessionsNow:
    def rate(*events: str) -> float:
        return round(sum(minute.sessions.get(one, 0) for one in events) * 60 / elapsed, 2)

    return SessionsNow(
        active=sessions.active,
        listeners=sessions.listeners,
        started_per_minute=rate("started"),
        ended_per_minute=rate("ended"),
        refused_per_minute=rate(*_REFUSED),
        error=sessions.error,
    )


def _parts(keyspace: Keyspace[Any]) -> dict[str, str]:
    """What each part of a key may be, in words."""
    return {name: part.described() for name, part in keyspace.pattern.parts.items()}
