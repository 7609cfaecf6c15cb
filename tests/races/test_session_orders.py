"""Log-ins, rotations, changes and ends of two processes, in every order that their commands can have."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest

from greenroom.errors import GreenroomError
from greenroom.sessions import Presence, SessionGone
from tests.support.interleaving import Turns, in_every_order
from tests.support.patience import PATIENT
from tests.support.proxy import Proxy, proxy_of
from tests.support.real_servers import Server
from tests.support.session_stores import MINIMAL, Open, Store, add_one, decoded, key, patch

pytestmark = [pytest.mark.on_cluster, pytest.mark.one_kind]


class Side:
    """A process whose commands wait for their turn, but for those that nothing follows from: times and counts."""

    def __init__(self, proxy: Proxy) -> None:
        self.turns = Turns()
        self.sessions: Store
        self.result: Any = None
        self._proxy = proxy

    async def open(self, store: Open) -> Side:
        self.sessions = await store(self._proxy, engine_limits=PATIENT)
        self._proxy.gate = self._gate
        return self

    async def begin(self, work: Awaitable[Any]) -> None:
        async def kept() -> None:
            try:
                self.result = await work
            except GreenroomError as error:
                self.result = error

        await self.turns.begin(kept())

    async def _gate(self, command: list[bytes]) -> None:
        counts = any(word.startswith(b"greenroom:active:") for word in command)
        leaves = command[0] == b"ZREM" and command[1].startswith(b"greenroom:streams:")
        if leaves or (command[0] in (b"EVALSHA", b"MGET") and not counts):
            await self.turns.gate()


@pytest.fixture
async def sides(server: Server, store: Open) -> AsyncIterator[tuple[Side, Side]]:
    async with AsyncExitStack() as stack:
        one, other = [await stack.enter_async_context(proxy_of(server)) for _ in range(2)]
        yield await Side(one).open(store), await Side(other).open(store)


async def in_orders(
    sides: tuple[Side, Side],
    works: Callable[[int], Awaitable[tuple[Any, Any]]],
    check: Callable[[int], Awaitable[None]],
) -> int:
    async def begin(number: int) -> None:
        for side, work in zip(sides, await works(number), strict=True):
            await side.begin(work)

    return await in_every_order([side.turns for side in sides], begin, check)


async def alive(sessions: Store, server: Server, user: str) -> list[str]:
    """A user's sessions, found by looking at every key; each must be listed."""
    raw = server.raw()
    found = [
        name.decode().partition(":")[2]
        for name in raw("KEYS", "session:*")
        if decoded(raw("GET", name)).get("user_id") == user
    ]
    raw.close()
    assert {live.session_id for live in await sessions.of_user(user)} == set(found)
    return found


async def test_a_log_in_while_all_are_ended_goes_whole_or_stays_and_is_listed(
    server: Server, store: Open, sides: tuple[Side, Side]
) -> None:
    sessions, kinds = await store(server), set[str]()
    log_in, ending = sides

    async def works(number: int) -> tuple[Any, Any]:
        await sessions.start({**MINIMAL, "user_id": f"u{number}"})
        members = {**MINIMAL, "user_id": f"u{number}"}
        return log_in.sessions.start(members), ending.sessions.end_all(f"u{number}")

    async def check(number: int) -> None:
        found = await alive(sessions, server, f"u{number}")
        assert ending.result in (1, 2)
        if isinstance(log_in.result, SessionGone):
            assert found == []
            assert ending.result == 1
            kinds.add("refused")
        else:
            live, token = log_in.result
            assert found == ([live.session_id] if ending.result == 1 else [])
            assert (await sessions.read(token) is not None) == bool(found)
            kinds.add("stayed" if found else "ended")
        assert await sessions.end_all(f"u{number}") == len(found), "the next one finds it"

    assert await in_orders(sides, works, check) > 10
    assert kinds == {"refused", "stayed", "ended"}


@pytest.mark.parametrize("before", ["anonymous", "signed in"])
async def test_a_rotation_while_all_are_ended_goes_whole_or_stays_and_is_listed(
    server: Server, store: Open, sides: tuple[Side, Side], before: str
) -> None:
    sessions, kinds = await store(server), set[str]()
    rotation, ending = sides
    olds: dict[int, str] = {}

    async def works(number: int) -> tuple[Any, Any]:
        user = {"user_id": f"u{number}"}
        old, olds[number] = await sessions.start({**MINIMAL, **(user if before == "signed in" else {})})
        return rotation.sessions.rotate(old.session_id, user), ending.sessions.end_all(f"u{number}")

    async def check(number: int) -> None:
        found = await alive(sessions, server, f"u{number}")
        if isinstance(rotation.result, SessionGone):
            assert found == []
            kinds.add("refused")
        else:
            live, token = rotation.result
            if before == "signed in" and found:
                raise AssertionError("it was signed in before, and all were ended")
            assert found == ([] if ending.result else [live.session_id])
            assert (await sessions.read(token) is not None) == bool(found)
            kinds.add("stayed" if found else "ended")
        old = await sessions.read(olds[number])
        if before == "signed in":
            assert old is None, "nor its copy"
        else:
            assert old is None or b"user_id" not in old.body
        assert await sessions.end_all(f"u{number}") == len(found)

    assert await in_orders(sides, works, check) > 10
    assert kinds == ({"refused", "ended"} if before == "signed in" else {"refused", "stayed", "ended"})


async def test_of_two_rotations_one_takes_the_session(server: Server, store: Open, sides: tuple[Side, Side]) -> None:
    sessions, winners = await store(server), set[int]()

    async def works(number: int) -> tuple[Any, Any]:
        old, _ = await sessions.start({**MINIMAL, "user_id": f"u{number}"})
        first, second = (side.sessions.rotate(old.session_id, {"user_id": f"u{number}"}) for side in sides)
        return first, second

    async def check(number: int) -> None:
        won = [index for index, side in enumerate(sides) if not isinstance(side.result, SessionGone)]
        assert len(won) == 1
        live, _ = sides[won[0]].result
        assert await alive(sessions, server, f"u{number}") == [live.session_id]
        winners.update(won)

    assert await in_orders(sides, works, check) > 20
    assert winners == {0, 1}


async def test_a_change_during_a_rotation_goes_along_or_fails(
    server: Server, store: Open, sides: tuple[Side, Side]
) -> None:
    sessions, kinds = await store(server), set[bool]()
    rotation, change = sides

    async def works(number: int) -> tuple[Any, Any]:
        old, _ = await sessions.start(MINIMAL)
        members = {"user_id": f"u{number}"}
        return rotation.sessions.rotate(old.session_id, members), change.sessions.change(old.session_id, add_one)

    async def check(number: int) -> None:
        (one,) = await alive(sessions, server, f"u{number}")
        lost = isinstance(change.result, SessionGone)
        assert decoded(server.raw()("GET", key(one))).get("count", 0) == (0 if lost else 1)
        kinds.add(lost)

    assert await in_orders(sides, works, check) > 10
    assert kinds == {True, False}


async def test_two_changes_are_both_there(server: Server, store: Open, sides: tuple[Side, Side]) -> None:
    sessions, ids = await store(server), dict[int, str]()

    async def works(number: int) -> tuple[Any, Any]:
        live, _ = await sessions.start(MINIMAL)
        ids[number] = live.session_id
        first, second = (side.sessions.change(live.session_id, add_one) for side in sides)
        return first, second

    async def check(number: int) -> None:
        assert decoded(server.raw()("GET", key(ids[number])))["count"] == 2

    assert await in_orders(sides, works, check) > 5


@pytest.mark.parametrize("other", ["end", "end all"])
async def test_a_change_during_an_end_brings_nothing_back(
    server: Server, store: Open, sides: tuple[Side, Side], other: str
) -> None:
    sessions, ids = await store(server), dict[int, str]()
    change, ending = sides

    async def works(number: int) -> tuple[Any, Any]:
        live, _ = await sessions.start({**MINIMAL, "user_id": f"u{number}"})
        ids[number] = live.session_id
        end = ending.sessions.end(live.session_id) if other == "end" else ending.sessions.end_all(f"u{number}")
        return change.sessions.change(live.session_id, patch(late=True)), end

    async def check(number: int) -> None:
        assert ending.result == 1
        raw = server.raw()
        assert {name.decode() for name in raw("KEYS", f"*{ids[number]}*")} == {
            f"greenroom:ended:{{{key(ids[number])}}}"
        }
        raw.close()
        assert await sessions.active() == 0

    assert await in_orders(sides, works, check) > 3


@pytest.mark.once_on_cluster
@pytest.mark.once_on_cluster
@pytest.mark.parametrize("pair", ["open close", "open open", "close close"])
async def test_two_streams_that_come_and_go_leave_the_newest_still_open(
    server: Server, store: Open, sides: tuple[Side, Side], pair: str
) -> None:
    sessions, ids = await store(server), dict[int, str]()
    presences = [Presence(side.sessions) for side in sides]

    async def works(number: int) -> tuple[Any, Any]:
        live, _ = await sessions.start(MINIMAL)
        ids[number] = live.session_id
        found: list[Awaitable[Any]] = []
        for presence, kind, podcast in zip(presences, pair.split(), "ab", strict=True):
            if kind == "open":
                found.append(presence.open(f"{podcast}{number}", live.session_id))
            else:
                stream = await Presence(sessions).open(f"{podcast}{number}", live.session_id)
                found.append(presence.close(stream))
        return found[0], found[1]

    async def check(number: int) -> None:
        said = decoded(server.raw()("GET", key(ids[number]))).get("active_podcast_stream_id")
        assert not isinstance(sides[0].result, Exception)
        there = await sessions.streams.newest(ids[number])
        assert said == there
        assert (said is None) == (pair == "close close")
        if pair == "open close":
            assert said == f"a{number}"

    assert await in_orders(sides, works, check) > 20
