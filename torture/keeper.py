"""Sessions on a cluster in trouble: two processes begin, change, read and end them, and a model says what may be read.

A write that was acknowledged and has reached a replica (WAIT says so, and nothing was done to the cluster meanwhile) is
kept whatever happens, unless its shard is gone with all its replicas. A session that has ended never comes back to the
process that ended it, nor, when all is quiet, to anyone. Who asks a shard that is well is answered.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec

from greenroom.engine import Address, Limits, engine_at
from greenroom.errors import EngineError
from greenroom.sessions import SessionGone, Sessions, merged
from greenroom_platform.definitions import SESSIONS
from greenroom_platform.domain.sessions import STREAMS
from greenroom_platform.models import Session
from tests.support.real_cluster import Cluster, slot_of
from torture.history import now
from torture.plan import SURVEY

T = TypeVar("T")

_USERS = 5
_EACH = 8
"""Sessions begun in each shard before anything fails."""
_PAUSE = 0.02
"""Seconds between two operations of a client, on average."""
WELL = 3.0
"""Seconds in which a call to a shard that is well must have been answered once, repeated as often as that takes."""
_PATIENCE = 60.0


@dataclass
class Known:
    """What is known of a session.

    Arguments:
        count: changes that were acknowledged, the last of them in `era`.
        sure: changes that have reached a replica; None before its beginning has.
        ending: whether somebody has tried to end it; `ended`, who was told that it has.
    """

    token: str
    era: int
    count: int = 0
    sure: int | None = None
    ending: bool = False
    ended: Sessions[Session] | None = None


class Keeper:
    """Made by `Keeper.opened`.

    The driver says what it does: `era` changes before and after each harm, `ill` are the shards it is done to. A slot
    on its way is no excuse: its sessions are read all the time.
    """

    def __init__(self, cluster: Cluster, processes: list[Sessions[Session]], chance: random.Random) -> None:
        self._cluster = cluster
        self._processes = processes
        self._chance = chance
        self._known: dict[str, Known] = {}
        self._stop = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._answered = dict.fromkeys(range(3), 0.0)  # shard → when the last read began that was answered
        self.era = 0
        self.ill: set[int] = set()
        self.wrong: list[str] = []
        """What is against a promise."""
        self.counts = Counter[str]()

    @classmethod
    async def opened(cls, cluster: Cluster, stack: AsyncExitStack, chance: random.Random) -> Keeper:
        """Two processes' sessions on a cluster, closed by the stack."""
        processes: list[Sessions[Session]] = []
        for _ in range(2):
            engine = engine_at(Address.parse(cluster.address), limits=Limits(topology_interval=SURVEY))
            stack.push_async_callback(engine.close)
            processes.append(Sessions(engine, SESSIONS, streams=STREAMS))
            await engine.start()
        return cls(cluster, processes, chance)

    async def start(self) -> None:
        """Begin some sessions in each shard, have them replicated, and let the clients begin."""
        while min(Counter(map(shard_of, self._known)).values(), default=0) < _EACH or len(self._known) < 3 * _EACH:
            await self._start()
        await self._make_sure()
        assert all(one.sure is not None for one in self._known.values())
        for work in (self._read, self._read, self._change, self._come_and_go, self._make_sure):
            self._tasks.append(asyncio.create_task(self._repeat(work)))

    async def finish(self) -> None:
        """End the clients, wait until all shards answer, and look at every session once more."""
        self._stop.set()
        await asyncio.gather(*self._tasks)
        for session, known in tuple(self._known.items()):
            for sessions in self._processes:
                await self._judge(sessions, session, known, last=True)

    def lose(self, shard: int) -> None:
        """A shard is gone with all its replicas: what it had is lost."""
        for session in [one for one in self._known if shard_of(one) == shard]:
            known = self._known[session]
            known.sure, known.count = None, 0

    async def recovered(self, shard: int, since: float) -> float:
        """Seconds after `since` until a read of a shard was answered that began after that."""
        while self._answered[shard] < since:
            assert now() < since + _PATIENCE, f"shard {shard} does not come back"
            await asyncio.sleep(0.01)
        return self._answered[shard] - since

    # What clients do -------------------------------------------------------------------------------

    async def _repeat(self, work: Callable[[], Awaitable[None]]) -> None:
        while not self._stop.is_set():
            await work()
            await asyncio.sleep(self._chance.expovariate(1 / _PAUSE))

    async def _start(self) -> None:
        era = self.era
        members = {"preferences": {}, "user_id": f"u{self._chance.randrange(_USERS)}"}
        try:
            live, token = await self._process().start(members)
        except (EngineError, SessionGone):
            self.counts["starts refused"] += 1
            return
        self.counts["starts"] += 1
        self._known[live.session_id] = Known(token, era)

    async def _change(self) -> None:
        session, known = self._any()
        if known.ending:
            return
        era = self.era
        try:
            live = await self._process().change(session, _add_one)
        except (EngineError, SessionGone):
            self.counts["changes refused"] += 1
            return
        self.counts["changes"] += 1
        # What it wrote, and not one more than was known: a read may have seen this change before its caller went on.
        self._note(known, _count(live.body), era)

    async def _come_and_go(self) -> None:
        if self._chance.random() < 0.6:
            return await self._start()
        session, known = self._any()
        if known.ending or sum(not one.ending for one in self._known.values()) <= 3 * _EACH:
            return None
        known.ending, process = True, self._process()
        try:
            await process.end(session)
        except EngineError:
            self.counts["ends refused"] += 1
            return None
        self.counts["ends"] += 1
        known.ended = process
        return None

    async def _read(self) -> None:
        session, known = self._any()
        await self._judge(self._process(), session, known)

    async def _make_sure(self) -> None:
        """Have what was acknowledged until now be replicated, and remember it as that."""
        era = self.era
        if self.ill:
            return
        before = {session: (known, known.count) for session, known in self._known.items() if known.era == era}
        if await asyncio.to_thread(self._wait) and self.era == era:
            for known, count in before.values():
                known.sure = count

    def _wait(self) -> bool:
        try:
            primaries = [one for one in self._cluster.members if one.role == "master"]
            return all(one.replicated() for one in primaries if one.keys(1))
        except OSError:
            return False

    # Judgement -------------------------------------------------------------------------------------

    async def _judge(self, sessions: Sessions[Session], session: str, known: Known, *, last: bool = False) -> None:
        shard, sure, ended, era = shard_of(session), known.sure, known.ended, self.era
        began = now()
        try:
            live = await self._asked(shard, lambda: sessions.read(known.token), insist=last)
        except EngineError:
            self.counts["reads refused"] += 1
            return
        self._answered[shard] = max(self._answered[shard], began)
        self.counts["reads"] += 1
        if live is not None and ended is not None and (last or ended is sessions or era == self.era == known.era):
            self.wrong.append(f"a session that has ended is there, {began:.3f}")
        if known.ending:
            return
        count = None if live is None else _count(live.body)
        if count is None and (sure is None or known.sure is None):
            self._known.pop(session, None)
        elif count is None or (sure is not None and known.sure is not None and count < sure):
            self.wrong.append(f"of {sure} changes that were replicated there are {count}, {began:.3f}, {self.ill}")
        elif self.era == era:
            self._note(known, count, era)

    def _note(self, known: Known, count: int, era: int) -> None:
        """What an earlier era acknowledged, and no replica had, may be lost: this is what there is."""
        known.count, known.era = count if known.era != era else max(count, known.count), era

    async def _asked(self, shard: int, call: Callable[[], Awaitable[T]], *, insist: bool) -> T:
        """A call, repeated while its shard is well."""
        began = now()
        while True:
            well = shard not in self.ill
            try:
                return await call()
            except EngineError as error:
                if not insist and (not well or shard in self.ill):
                    raise
                self.counts["refused by a shard that is well"] += 1
                if now() > began + (_PATIENCE if insist else WELL):
                    self.wrong.append(f"shard {shard} is well and does not answer: {error}")
                    raise
                await asyncio.sleep(0.02)

    def _any(self) -> tuple[str, Known]:
        session = self._chance.choice(list(self._known))
        return session, self._known[session]

    def _process(self) -> Sessions[Session]:
        return self._chance.choice(self._processes)


def shard_of(session: str) -> int:
    """The third of the slots that a session is in."""
    return slot_of(f"session:{session}") * 3 // 16384


def _add_one(body: bytes) -> bytes:
    return merged(body, {"count": _count(body) + 1})


def _count(body: bytes) -> int:
    found: int = msgspec.json.decode(body, type=dict[str, Any]).get("count", 0)
    return found
