"""Sessions whose callers or connections are lost at every await in turn: the counts stay exact, nothing is held."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest

from greenroom.errors import EngineError
from greenroom.sessions import Presence, SessionGone, Stream, index
from tests.support.every_await import OUTER, Fault, at_every_await
from tests.support.held import cut, quiet
from tests.support.patience import until
from tests.support.real_servers import Server
from tests.support.session_stores import MINIMAL, Store, add_one, close_sessions, decoded, open_sessions

USER = "u1"


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who enters the list of all waits for a new connection: else a slow one makes the count too low."""
    monkeypatch.setattr(index, "_SOON", 60.0)


class Calls:
    """A process with two sessions of one user, one of whom listens."""

    def __init__(self, server: Server, sessions: Store, call: Callable[[Calls], Awaitable[Any]]) -> None:
        self.raw = server.raw()
        self.sessions = sessions
        self.presence = Presence(sessions)
        self.ids: list[str] = []
        self.stream: Stream | None = None
        self.result: Any = None
        self._call = call

    async def begin(self) -> None:
        for _ in range(2):
            live, _token = await self.sessions.start(MINIMAL, user_id=USER)
            self.ids.append(live.session_id)
        self.stream = await self.presence.open("p1", self.ids[0])

    def operation(self) -> Coroutine[Any, Any, None]:
        async def call() -> None:
            self.result = await self._call(self)

        return call()

    def cut(self) -> None:
        cut(self.sessions.engine)

    def _under_way(self) -> int:
        sessions = self.sessions
        return len(sessions.leftovers) + len(sessions._background._detached) + len(sessions._ends)

    async def alive(self) -> set[str]:
        """The sessions that are really there."""
        found = {key.decode().removeprefix("session:") for key in self.raw("KEYS", "session:*")}
        return {one for one in found if await self.sessions.read_id(one) is not None}

    async def check(self) -> None:
        await quiet(self.sessions.engine)
        await until(lambda: not self._under_way())
        assert self.sessions.leftovers._task is None or self.sessions.leftovers._task.done()
        alive = await self.alive()
        assert await self.sessions.active() == len(alive)
        listed = set(await self.sessions._index.of_user(USER).members())
        assert alive <= listed
        # A rotated id stays listed, so that end-all ends its copy.
        assert all(self.raw("EXISTS", f"greenroom:grace:{{session:{one}}}") for one in listed - alive)
        assert not any(turn.lock.locked() for turn in self.sessions._changes._turns._turns.values())
        assert not self.sessions._key_events._events
        await CHECKS[self._call](self, alive)


async def start(calls: Calls) -> Any:
    return await calls.sessions.start(MINIMAL, user_id=USER)


async def started(calls: Calls, alive: set[str]) -> None:
    # Whose token nobody was given is over.
    assert alive == {*calls.ids, *([calls.result[0].session_id] if calls.result else [])}


async def change(calls: Calls) -> Any:
    return await calls.sessions.change(calls.ids[0], add_one)


async def changed(calls: Calls, alive: set[str]) -> None:
    assert alive == set(calls.ids)
    live = await calls.sessions.read_id(calls.ids[0])
    assert live is not None
    before = decoded(live.body).get("count", 0)
    assert before in ({1} if calls.result else {0, 1})
    assert decoded((await calls.sessions.change(calls.ids[0], add_one)).body)["count"] == before + 1


async def rotate(calls: Calls) -> Any:
    return await calls.sessions.rotate(calls.ids[1], {"user_id": USER})


async def rotated(calls: Calls, alive: set[str]) -> None:
    if calls.result:
        assert alive == {calls.ids[0], calls.result[0].session_id}
    else:  # the old one goes on, or its user signs in again; nobody is signed in as the new one
        assert {calls.ids[0]} <= alive <= set(calls.ids)


async def end(calls: Calls) -> Any:
    return await calls.sessions.end(calls.ids[1])


async def ended(calls: Calls, alive: set[str]) -> None:
    assert alive == {calls.ids[0]}


async def end_all(calls: Calls) -> Any:
    return await calls.sessions.end_all(USER)


async def all_ended(calls: Calls, alive: set[str]) -> None:
    assert alive == set()


async def listen(calls: Calls) -> Any:
    return await calls.presence.open("p2", calls.ids[1])


async def listening(calls: Calls, alive: set[str]) -> None:
    assert alive == set(calls.ids)
    assert await calls.presence.listeners() == {"p1": 1} | ({"p2": 1} if calls.result else {})
    assert await calls.sessions.streams.newest(calls.ids[1]) == ("p2" if calls.result else None)


async def leave(calls: Calls) -> Any:
    assert calls.stream is not None
    return await calls.presence.close(calls.stream)


async def left(calls: Calls, alive: set[str]) -> None:
    assert await calls.presence.listeners() == {}
    assert await calls.sessions.streams.newest(calls.ids[0]) is None


CHECKS: dict[Any, Callable[[Calls, set[str]], Awaitable[None]]] = {
    start: started,
    change: changed,
    rotate: rotated,
    end: ended,
    end_all: all_ended,
    listen: listening,
    leave: left,
}


@asynccontextmanager
async def calls_of(server: Server, call: Any) -> AsyncIterator[Calls]:
    sessions = await open_sessions(server)
    try:
        calls = Calls(server, sessions, call)
        calls.raw("FLUSHALL")
        await calls.begin()
        yield calls
        calls.raw.close()
    finally:
        await close_sessions(sessions)


@pytest.mark.parametrize("fault", OUTER, ids=str)
@pytest.mark.parametrize("call", CHECKS, ids=lambda call: call.__name__)
async def test_a_call_lost_at_any_await_leaves_no_count_too_high(valkey: Server, fault: Fault, call: Any) -> None:
    assert await at_every_await(lambda: calls_of(valkey, call), fault) >= 2


@pytest.mark.parametrize("call", [start, rotate, listen], ids=lambda call: call.__name__)
async def test_a_call_refused_in_the_middle_leaves_no_count_too_high(
    valkey: Server, call: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where only the node of the one list takes no writes."""
    async with calls_of(valkey, call) as calls:
        run, left = calls.sessions.engine.run, [0]

        async def refused(*args: Any, **options: Any) -> Any:
            left[0] -= 1
            if left[0] == 0:
                raise EngineError("refused by the test")
            return await run(*args, **options)

        monkeypatch.setattr(calls.sessions.engine, "run", refused)
        for number in range(1, 6):
            left[0] = number  # each of its scripts in turn
            with suppress(EngineError, SessionGone):
                await call(calls)
            await until(lambda: not calls.sessions.leftovers)
        left[0] = 0
        assert await calls.sessions.active() == len(await calls.alive())


def refusing_once(sessions: Store, monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    """Let the next command of this name be refused."""
    execute, refused = sessions.engine.execute, [False]

    async def refusing(channel: Any, key: str, *words: Any, **options: Any) -> Any:
        if words[0] == command and not refused[0]:
            refused[0] = True
            raise EngineError("refused by the test")
        return await execute(channel, key, *words, **options)

    monkeypatch.setattr(sessions.engine, "execute", refusing)


async def test_a_session_that_was_ended_and_not_unlisted_is_unlisted_behind(
    valkey: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with calls_of(valkey, end) as calls:
        refusing_once(calls.sessions, monkeypatch, "ZREM")
        await end(calls)
        await calls.check()


async def test_a_change_of_what_is_over_and_unreadable_leaves_no_count_too_high(
    valkey: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with calls_of(valkey, end) as calls:
        await end(calls)
        refusing_once(calls.sessions, monkeypatch, "MGET")
        with pytest.raises(EngineError):
            await calls.sessions.change(calls.ids[1], add_one)
        await calls.check()
