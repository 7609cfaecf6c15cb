"""What the clients of one process do with sessions: begin, read, change, rotate and end them, whoever began them."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

import msgspec

from greenroom.errors import EngineError
from greenroom.sessions import SessionGone, Sessions, SessionSnapshot, merged
from greenroom_platform.models import Session
from torture.history import Crash, now
from torture.journal import Journal
from torture.plan import Plan
from torture.session_history import (
    BEGUN,
    CANCELLED,
    NO,
    YES,
    Answer,
    Begun,
    Changed,
    Counted,
    Ended,
    EndedAll,
    Listed,
    Looked,
    Rotated,
)

T = TypeVar("T")
E = TypeVar("E", Begun, Rotated, Changed, Ended, EndedAll)

USERS = tuple(f"u{number}" for number in range(4))
_LEAVE = 0.02
"""The share of calls whose caller is cancelled."""
_MOST = 12
"""Sessions known here above which none begins."""


class SessionClients:
    """All of them in one process. Sessions of other processes are found by their users' lists."""

    def __init__(self, plan: Plan, sessions: Sessions[Session], journal: Journal) -> None:
        self._plan = plan
        self._process = plan.process
        self._sessions = sessions
        self._journal = journal
        self._known: dict[str, str] = {}  # session → user
        self._finishing = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Let every client begin."""
        for number in range(self._plan.session_clients):
            chance = random.Random(f"{self._plan.seed} session {number}")
            self._tasks.append(asyncio.create_task(self._client(chance)))

    async def finish(self) -> None:
        """Return when every client has ended what it was doing."""
        self._finishing.set()
        await asyncio.gather(*self._tasks)

    async def report(self, ids: list[str]) -> None:
        """All is quiet: look at every session that there was, at the lists and at the count."""
        while True:
            try:
                for session in ids:
                    await self._look(session, last=True)
                for user in USERS:
                    began = now()
                    listed = [live.session_id for live in await self._sessions.of_user(user)]
                    self._journal.add(Listed(self._process, began, now(), user, listed))
                await self._count(last=True)
            except EngineError:
                await asyncio.sleep(0.05)
            else:
                return

    async def _client(self, chance: random.Random) -> None:
        kinds: list[Callable[[random.Random], Awaitable[None]]] = [
            self._read,
            self._change,
            self._begin,
            self._rotate,
            self._end,
            self._end_all,
            self._find,
            self._active,
        ]
        weights = [0.4, 0.3, 0.1, 0.04, 0.05, 0.01, 0.08, 0.02]
        while not self._finishing.is_set():
            await asyncio.sleep(chance.expovariate(1 / self._plan.pause))
            (kind,) = chance.choices(kinds, weights)
            try:
                await kind(chance)
            except EngineError:
                await asyncio.sleep(0.02)
            except Exception as error:
                self._journal.add(Crash(self._process, now(), now(), f"{kind.__name__}: {error!r}"))

    # Calls -----------------------------------------------------------------------------------------

    async def _begin(self, chance: random.Random) -> None:
        if len(self._known) >= _MOST:
            return
        user = chance.choice(USERS)
        call = self._sessions.start({"user_id": user})
        made, began, answer = await self._called(chance, Begun(self._process, now(), 0.0, "", user, BEGUN), call)
        session = made[0].session_id if made is not None else ""
        self._journal.add(Begun(self._process, began, now(), session, user, answer))
        if made is not None:
            self._known[session] = user

    async def _rotate(self, chance: random.Random) -> None:
        session, user = self._any(chance)
        if not session:
            return
        call = self._sessions.rotate(session, {})
        made, began, answer = await self._called(
            chance, Rotated(self._process, now(), 0.0, session, "", user, BEGUN), call
        )
        successor = made[0].session_id if made is not None else ""
        self._journal.add(Rotated(self._process, began, now(), session, successor, user, answer))
        if made is not None:
            self._known[successor] = user
        if chance.random() < 0.7:
            self._known.pop(session, None)

    async def _change(self, chance: random.Random) -> None:
        session, _ = self._any(chance)
        if not session:
            return
        call = self._sessions.change(session, _add_one)
        live, began, answer = await self._called(chance, Changed(self._process, now(), 0.0, session, BEGUN), call)
        count = -1 if live is None else _count(live)
        self._journal.add(Changed(self._process, began, now(), session, answer, count))
        if answer == NO:
            self._known.pop(session, None)

    async def _end(self, chance: random.Random) -> None:
        session, _ = self._any(chance)
        if not session:
            return
        call = self._sessions.end(session)
        _, began, answer = await self._called(chance, Ended(self._process, now(), 0.0, session, BEGUN), call)
        self._journal.add(Ended(self._process, began, now(), session, answer))
        if chance.random() < 0.5:
            self._known.pop(session, None)  # else it is read again: it must not come back

    async def _end_all(self, chance: random.Random) -> None:
        user = chance.choice(USERS)
        call = self._sessions.end_all(user)
        _, began, answer = await self._called(chance, EndedAll(self._process, now(), 0.0, user, BEGUN), call)
        self._journal.add(EndedAll(self._process, began, now(), user, answer))

    async def _called(
        self, chance: random.Random, begun: E, call: Coroutine[Any, Any, T]
    ) -> tuple[T | None, float, str]:
        """What a call returns, when it began, and how it ended; that it has begun is told before."""
        self._journal.add(begun)
        soon = chance.random() * 0.01 if chance.random() < _LEAVE else None
        try:
            async with asyncio.timeout(soon):
                return await call, begun.began, YES
        except TimeoutError:
            return None, begun.began, CANCELLED
        except SessionGone:
            return None, begun.began, NO
        except EngineError as error:
            return None, begun.began, type(error).__name__

    async def _read(self, chance: random.Random) -> None:
        session, _ = self._any(chance)
        if session and not await self._look(session) and chance.random() < 0.3:
            self._known.pop(session, None)

    async def _look(self, session: str, *, last: bool = False) -> bool:
        began = now()
        try:
            live = await self._sessions.read_id(session)
        except EngineError as error:
            self._journal.add(Answer(self._process, began, now(), "read", type(error).__name__))
            raise
        count = -1 if live is None else _count(live)
        copy = live is not None and not live.writable
        self._journal.add(Looked(self._process, began, now(), session, count, copy, last))
        return live is not None

    async def _find(self, chance: random.Random) -> None:
        user, began = chance.choice(USERS), now()
        try:
            found = await self._sessions.of_user(user)
        except EngineError as error:
            self._journal.add(Answer(self._process, began, now(), "of_user", type(error).__name__))
            raise
        for live in found[:_MOST]:
            self._known[live.session_id] = user

    async def _active(self, _: random.Random) -> None:
        await self._count()

    async def _count(self, *, last: bool = False) -> None:
        began = now()
        try:
            number = await self._sessions.active()
        except EngineError as error:
            self._journal.add(Answer(self._process, began, now(), "active", type(error).__name__))
            raise
        self._journal.add(Counted(self._process, began, now(), number, last))

    def _any(self, chance: random.Random) -> tuple[str, str]:
        return chance.choice(list(self._known.items())) if self._known else ("", "")


def _count(live: SessionSnapshot[Session]) -> int:
    return int(live.members.get("count", 0))


def _add_one(body: bytes) -> bytes:
    return merged(body, {"count": msgspec.json.decode(body, type=dict[str, Any]).get("count", 0) + 1})
