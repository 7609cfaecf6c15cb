"""What a process works with: caches and sessions on one server or on two, wired as a room wires them."""

from __future__ import annotations

import random
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any

from greenroom.caching.invalidation import Backing
from greenroom.clock import SYSTEM
from greenroom.engine import Address, Engine, Limits, engine_at
from greenroom.engine.embedded import EmbeddedServer
from greenroom.engine.factory import EMBEDDED, Use, callbacks
from greenroom.engine.key_events import KeyEvents
from greenroom.engine.transport.connection import Connection
from greenroom.keyspace.derived_keys import owner
from greenroom.observe import Counters
from greenroom.sessions import Revocations, Sessions, session_use
from greenroom_platform.definitions import SESSIONS
from greenroom_platform.domain.sessions import STREAMS
from greenroom_platform.models import Session
from torture import broken
from torture.history import Served, now
from torture.journal import Journal
from torture.lane import LateLane
from torture.plan import SURVEY, Plan
from torture.session_history import Resent


class Opened:
    """Made by `start`."""

    def __init__(self, plan: Plan, journal: Journal) -> None:
        self._plan = plan
        self._journal = journal
        self.counters = Counters()
        self.backing = Backing("", SYSTEM, self.counters)
        self.engine: Engine
        """The caches' engine, as it is: callers use it by way of `backing.engine`."""
        self.sessions: Sessions[Session]

    async def start(self, stack: AsyncExitStack) -> None:
        """Open the engines; the stack closes them."""
        plan, pushes, ends = self._plan, KeyEvents(owner), Revocations()
        of_caches = replace(self.backing.use, before_serving=self._before_serving)
        of_sessions = session_use(pushes, ends)
        carry = of_sessions.before_use

        async def before_use(connection: Connection) -> None:
            began = now()
            await carry(connection)
            self._journal.add(Resent(plan.process, began, now()))

        of_sessions = replace(of_sessions, before_use=before_use)
        apart = bool(plan.session_address)
        self.engine = self._engine(plan.address, [of_caches] if apart else [of_caches, of_sessions], stack)
        sessions_engine = self._engine(plan.session_address, [of_sessions], stack) if apart else self.engine
        channel = broken.channel(plan.broken)
        self.backing.attach(channel(self.engine, plan.late, random.Random(f"{plan.seed} lane")))
        late = LateLane(sessions_engine, plan.late, random.Random(f"{plan.seed} session lane"))
        self.sessions = Sessions(late, SESSIONS, pushes=pushes, ends=ends, new={"preferences": {}}, streams=STREAMS)
        stack.push_async_callback(self.sessions.close)
        stack.push_async_callback(self.backing.close)
        for engine in {self.engine, sessions_engine}:
            await engine.start()

    def _engine(self, address: str, uses: list[Use], stack: AsyncExitStack) -> Engine:
        options: dict[str, Any] = callbacks(uses)
        options |= {
            "counters": self.counters,
            "limits": broken.limits(self._plan.broken, Limits(topology_interval=SURVEY)),
        }
        if address == EMBEDDED:
            server = EmbeddedServer(self._plan.data_directory)
            stack.push_async_callback(server.close)
            engine = engine_at(Address((), path=server.socket_path), before_connect=server.ensure, **options)
        else:
            engine = engine_at(Address.parse(address), replica_reads=self._plan.replicas, **options)
        stack.push_async_callback(engine.close)
        return engine

    async def _before_serving(self, connection: Connection) -> None:
        began = now()
        await self.backing.before_serving(connection)
        node = getattr(connection.share, "node", None)
        self._journal.add(Served(self._plan.process, began, now(), "" if node is None else str(node.address)))
