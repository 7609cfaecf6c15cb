"""What a process works with: caches and sessions on one server or on two, wired as a room wires them."""

from __future__ import annotations

import random
from contextlib import AsyncExitStack
from weakref import WeakSet

from greenroom.caching.invalidation import Backing
from greenroom.clock import SYSTEM
from greenroom.counters import Counters
from greenroom.engine import EMBEDDED, Address, Engine, Handover, Limits, engine_at
from greenroom.engine.embedded import EmbeddedServer
from greenroom.sessions import Revocations, Sessions
from greenroom_platform.definitions import SESSIONS
from greenroom_platform.domain.sessions import STREAMS
from greenroom_platform.models import Session
from torture import broken
from torture.history import Served, now
from torture.journal import Journal
from torture.lane import LateLane
from torture.plan import SURVEY, Plan
from torture.session_history import Resent


class JournaledBacking(Backing):
    """Writes down when a new connection has carried what it owes the caches."""

    def __init__(self, engine: Engine, counters: Counters, plan: Plan, journal: Journal) -> None:
        super().__init__(engine, "", SYSTEM, counters)
        self._plan = plan
        self._journal = journal
        self._new: WeakSet[Handover] = WeakSet()

    async def before_serving(self, handover: Handover) -> None:
        await super().before_serving(handover)
        self._new.add(handover)

    def keys_gained(self, handover: Handover) -> None:
        began = now()
        super().keys_gained(handover)
        if handover in self._new:  # and no server in use that has taken slots over
            node = handover.server if "cluster" in self._plan.address else ""
            self._journal.add(Served(self._plan.process, began, now(), node))


class JournaledRevocations(Revocations):
    """Writes down when a new connection has carried the ends of sessions."""

    def __init__(self, plan: Plan, journal: Journal) -> None:
        super().__init__()
        self._plan = plan
        self._journal = journal

    async def before_use(self, handover: Handover) -> None:
        began = now()
        await super().before_use(handover)
        self._journal.add(Resent(self._plan.process, began, now()))


class Opened:
    """Made by `start`."""

    def __init__(self, plan: Plan, journal: Journal) -> None:
        self._plan = plan
        self._journal = journal
        self.counters = Counters()
        self.backing: Backing
        self.engine: Engine
        """The caches' engine, as it is: callers use it by way of `backing.engine`."""
        self.sessions: Sessions[Session]

    async def start(self, stack: AsyncExitStack) -> None:
        """Open the engines; the stack closes them."""
        plan = self._plan
        self.engine = self._engine(plan.address, stack)
        sessions_engine = self._engine(plan.session_address, stack) if plan.session_address else self.engine
        channel = broken.channel(plan.broken)
        late = channel(self.engine, plan.late, random.Random(f"{plan.seed} lane"))
        self.backing = JournaledBacking(late, self.counters, plan, self._journal)
        late = LateLane(sessions_engine, plan.late, random.Random(f"{plan.seed} session lane"))
        ends = JournaledRevocations(plan, self._journal)
        self.sessions = Sessions(late, SESSIONS, ends=ends, new={"preferences": {}}, streams=STREAMS)
        stack.push_async_callback(self.sessions.close)
        stack.push_async_callback(self.backing.close)
        for engine in {self.engine, sessions_engine}:
            await engine.start()

    def _engine(self, address: str, stack: AsyncExitStack) -> Engine:
        limits = broken.limits(self._plan.broken, Limits(topology_interval=SURVEY))
        if address == EMBEDDED:
            server = EmbeddedServer(self._plan.data_directory)
            stack.push_async_callback(server.close)
            at = Address((), path=server.socket_path)
            engine = engine_at(at, before_connect=server.ensure, counters=self.counters, limits=limits)
        else:
            at = Address.parse(address)
            engine = engine_at(at, replica_reads=self._plan.replicas, counters=self.counters, limits=limits)
        stack.push_async_callback(engine.close)
        return engine
