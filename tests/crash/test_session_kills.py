"""A process that dies between any two commands: nothing stays alive that should be dead, and what is alive is listed.

Every cut is tried: the n-th command of an operation is carried out, and no later one, for each n; the process is gone
with its connections. A second pass lets the process live, and loses the reply to the n-th command instead.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import pytest

from greenroom.errors import GreenroomError
from greenroom.sessions import Presence, SessionLimits
from tests.support.patience import PATIENT, be_patient, until
from tests.support.proxy import proxy_of
from tests.support.real_servers import Raw, Server
from tests.support.session_stores import (
    MINIMAL,
    MINUTE,
    SECOND,
    Open,
    Store,
    add_one,
    age,
    close_sessions,
    decoded,
    key,
    names,
    open_sessions,
)

pytestmark = pytest.mark.on_cluster

SIGNED_IN = {**MINIMAL, "user_id": "u1"}
_UNCOUNTED = {b"HELLO", b"CLIENT", b"SCRIPT", b"PING", b"SELECT", b"CLUSTER"}


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    be_patient(monkeypatch)


@dataclass
class Before:
    """A signed-in user with two sessions, as it is before each operation."""

    ids: list[str]
    tokens: list[str]


async def before(sessions: Store) -> Before:
    begun = [await sessions.start(SIGNED_IN) for _ in range(2)]
    return Before([live.session_id for live, _ in begun], [token for _, token in begun])


async def start(sessions: Store, _: Before) -> Any:
    return await sessions.start(SIGNED_IN)


async def rotate(sessions: Store, given: Before) -> Any:
    return await sessions.rotate(given.ids[0], {})


async def log_in(sessions: Store, _: Before) -> Any:
    live, _token = await sessions.start(MINIMAL)
    return await sessions.rotate(live.session_id, {"user_id": "u1"})


async def end(sessions: Store, given: Before) -> Any:
    return await sessions.end(given.ids[0])


async def end_all(sessions: Store, _: Before) -> Any:
    return await sessions.end_all("u1")


async def change(sessions: Store, given: Before) -> Any:
    return await sessions.change(given.ids[0], add_one)


async def listen(sessions: Store, given: Before) -> Any:
    stream = await Presence(sessions).open("p1", given.ids[0])
    assert await Presence(sessions).renew(stream)
    await Presence(sessions).close(stream)


Operation = Callable[[Store, Before], Awaitable[Any]]
LEAST: dict[Operation, int] = {start: 4, rotate: 6, log_in: 10, end: 3, end_all: 6, change: 3, listen: 12}
"""How many commands each sends at least: so many cuts there are."""
OPERATIONS = list(LEAST)


class Mortal:
    """Stops for good when so many commands have passed."""

    def __init__(self, lives: int) -> None:
        self.lives = lives
        self.dead = asyncio.Event()

    async def gate(self, command: list[bytes]) -> None:
        if self.dead.is_set() or (command[0] not in _UNCOUNTED and self.lives == 0):
            self.dead.set()
            await asyncio.Event().wait()
        self.lives -= command[0] not in _UNCOUNTED


def living(raw: Raw) -> set[str]:
    """The ids of everything that could be signed in with."""
    return {name.partition(":")[2] for name in names(raw) if name.startswith("session:")}


async def whole(sessions: Store, raw: Raw) -> None:
    """What must hold of all that there is: it is listed, counted, and can be ended."""
    alive = living(raw)
    listed = {one.decode() for one in raw("ZRANGE", "greenroom:active:{sessions}", 0, -1)}
    assert alive <= listed
    mine = {one.session_id for one in await sessions.of_user("u1")}
    assert mine == {one for one in alive if decoded(raw("GET", key(one))).get("user_id") == "u1"}
    for one in alive:
        assert raw("EXISTS", f"greenroom:life:{{{key(one)}}}"), one
        assert 0 < raw("PTTL", key(one)) <= 31 * 60_000


@pytest.mark.parametrize("operation", OPERATIONS)
async def test_a_kill_after_any_command_keeps_no_ended_session_alive(
    server: Server, store: Open, operation: Operation
) -> None:
    sessions, raw, cuts = await store(server), server.raw(), 0
    while True:
        raw("FLUSHALL")
        given = await before(sessions)
        async with proxy_of(server) as proxy:
            dying = await open_sessions(proxy, engine_limits=PATIENT)
            mortal = Mortal(cuts)
            proxy.gate = mortal.gate
            work = asyncio.ensure_future(operation(dying, given))
            await until(lambda: work.done() or mortal.dead.is_set())  # noqa: B023
            ended = work.done()
            work.cancel()
            await asyncio.wait([work])
            await dying.engine.close()  # at once: what a dead process has left is not undone
            await dying.close()
        await whole(sessions, raw)
        await _after(operation, sessions, raw, given, ended=ended)
        await sessions.end_all("u1")
        assert not [one for one in living(raw) if decoded(raw("GET", key(one))).get("user_id")], cuts
        age(raw, 31 * MINUTE + 6 * SECOND)
        assert await sessions.active() == 0
        assert await Presence(sessions).listeners() == {}
        if ended:
            break
        cuts += 1
    assert cuts >= LEAST[operation]


async def _after(operation: Operation, sessions: Store, raw: Raw, given: Before, *, ended: bool) -> None:
    alive = living(raw)
    if operation in (start, change, listen):
        assert set(given.ids) <= alive, "nobody else's is touched"
    if operation in (rotate, end):
        assert given.ids[1] in alive
    if operation is rotate:
        assert len(alive) <= 2, "the old one, its successor or neither; never both"
    if operation is log_in:
        assert len(alive) <= 3
    if operation is end and ended:
        assert alive == {given.ids[1]}
    if operation is end_all and ended:
        assert alive == set()
    copy = await sessions.read(given.tokens[0])
    if given.ids[0] not in alive:
        assert copy is None or (operation is rotate and not copy.writable)


@pytest.mark.parametrize("operation", OPERATIONS)
async def test_a_reply_lost_at_any_command_changes_nothing_of_what_is_done(
    server: Server, store: Open, operation: Operation
) -> None:
    sessions, raw, lost = await store(server), server.raw(), 0
    while True:
        raw("FLUSHALL")
        given = await before(sessions)
        async with proxy_of(server) as proxy:
            living_on = await open_sessions(proxy, engine_limits=PATIENT)
            count, reached = lost, False

            async def gate(command: list[bytes]) -> None:
                nonlocal count, reached
                if command[0] in _UNCOUNTED:
                    return
                if count == 0:
                    reached = True
                    proxy.cut_reply_to(*(word.decode() for word in command if word))
                count -= 1

            proxy.gate = gate
            result = await operation(living_on, given)
            await close_sessions(living_on)
        await whole(sessions, raw)
        alive = living(raw)
        match operation.__name__:
            case "start":
                assert alive == {*given.ids, result[0].session_id}
            case "rotate":
                assert alive == {given.ids[1], result[0].session_id}
            case "log_in":
                assert alive == {*given.ids, result[0].session_id}
            case "end":
                assert result is True
                assert alive == {given.ids[1]}
            case "end_all":
                assert result == 2
                assert alive == set()
            case "change":
                assert decoded(raw("GET", key(given.ids[0])))["count"] == 1
            case _:
                assert b"active_podcast" not in raw("GET", key(given.ids[0]))
                assert await Presence(sessions).listeners() == {}
        assert await sessions.active() == len(alive), "counted once"
        if not reached:
            break
        lost += 1
    assert lost >= 3


async def test_a_user_whose_log_in_was_cut_can_still_be_ended_and_counted(server: Server, store: Open) -> None:
    """A client that gave up waiting: its request is cancelled between any two commands, and its process lives on."""
    sessions, raw = await store(server, SessionLimits()), server.raw()
    for number in range(12):
        async with proxy_of(server) as proxy:
            slow = await open_sessions(proxy, engine_limits=PATIENT)
            mortal = Mortal(number)
            proxy.gate = mortal.gate
            work = asyncio.ensure_future(log_in(slow, Before([], [])))
            await until(lambda: work.done() or mortal.dead.is_set())  # noqa: B023
            work.cancel()
            with suppress(asyncio.CancelledError, GreenroomError):
                await work
            await close_sessions(slow)
        await whole(sessions, raw)
    await sessions.end_all("u1")
    assert await sessions.of_user("u1") == []
