"""A room is declared at module level and opened later; used where it is not open, it says so, and what to do."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from greenroom import Greenroom, Keyspace, SessionSettings
from greenroom.caching import Cache
from greenroom.errors import InvalidInput, RoomClosed, RoomElsewhere, RoomNotOpen
from greenroom.progress import Jobs, Order
from tests.support.real_servers import Server

MINUTES = timedelta(minutes=5)


class Show(msgspec.Struct, frozen=True):
    show_id: str
    status: str = "queued"


SHOW = Keyspace("show:{show_id}", Show, ttl=MINUTES)


ALWAYS = Keyspace("always:{show_id}", Show, ttl=MINUTES)
ORDER = Order("queued", "ready", failure="error")


def constant(show: Show) -> str:
    return "queued"


async def load(show_id: str) -> Show:
    return Show(show_id)


Operation = Callable[[Cache[Show]], Awaitable[object]]
OPERATIONS: dict[str, Operation] = {
    "get": lambda cache: cache.get("a"),
    "get by name": lambda cache: cache.get(show_id="a"),
    "get_result": lambda cache: cache.get_result("a"),
    "get_many": lambda cache: cache.get_many(["a"]),
    "invalidate": lambda cache: cache.invalidate("a"),
    "invalidate_group": lambda cache: cache.invalidate_group("a"),
    "of": lambda cache: cache.of("a").drop(),
    "group": lambda cache: cache.group("a").drop(),
}


def declared(address: str) -> tuple[Greenroom, Cache[Show]]:
    """As at module level: no event loop, no server."""
    room = Greenroom(address, sessions=False)
    return room, room.cache(SHOW, load=load, groups=["shows:{show_id}"])


async def test_a_cache_that_was_declared_before_is_open_as_long_as_its_room(valkey: Server) -> None:
    room, cache = await asyncio.to_thread(declared, valkey.address)
    for _ in range(2):
        for operation in OPERATIONS.values():
            with pytest.raises(RoomClosed):
                await operation(cache)
        async with room:
            assert room.cache(SHOW, load=load, groups=["shows:{show_id}"]) is cache
            for operation in OPERATIONS.values():
                await operation(cache)
            assert (await cache.get("a"), cache.peek("a")) == (Show("a"), Show("a"))


def test_a_room_is_opened_in_one_event_loop_after_another(valkey: Server) -> None:
    room, cache = declared(valkey.address)

    async def use() -> Show | None:
        async with room:
            await cache.get("a")
            return await cache.get("a")

    assert [asyncio.run(use()) for _ in range(2)] == [Show("a")] * 2


@pytest.mark.parametrize("name", OPERATIONS)
async def test_before_it_is_open_and_after_it_was_closed_it_says_so(valkey: Server, name: str) -> None:
    room, cache = declared(valkey.address)
    with pytest.raises(RoomNotOpen, match="is not open yet: enter it with `async with room`"):
        await OPERATIONS[name](cache)
    async with room:
        await cache.get("a")
        await cache.get("a")
    with pytest.raises(RoomClosed, match="is closed: use it inside the block") as caught:
        await OPERATIONS[name](cache)
    assert type(caught.value) is RoomClosed


@pytest.mark.parametrize("name", OPERATIONS)
async def test_in_another_event_loop_it_says_so_even_of_a_near_value(valkey: Server, name: str) -> None:
    room, cache = declared(valkey.address)

    async def elsewhere() -> None:
        await OPERATIONS[name](cache)

    async with room:
        await cache.get("a")
        assert cache.peek("a") == Show("a")
        with pytest.raises(RoomElsewhere, match="another event loop: use it there, or make and open"):
            await asyncio.to_thread(asyncio.run, elsewhere())
        with pytest.raises(RoomElsewhere, match="no event loop runs here: call it from a coroutine"):
            await asyncio.to_thread(cache.peek, "a")
        with pytest.raises(InvalidInput, match="is open already"):
            await asyncio.to_thread(asyncio.run, room.__aenter__())
        assert await cache.get("a") == Show("a")


def test_in_the_next_event_loop_of_one_thread_it_says_so_too(valkey: Server) -> None:
    room, cache = declared(valkey.address)
    loop = asyncio.new_event_loop()
    try:
        loop.run_until_complete(room.__aenter__())
        for _ in range(2):
            loop.run_until_complete(cache.get("a"))
        with pytest.raises(RoomElsewhere, match="another event loop"):
            asyncio.run(cache.get("a"))
        loop.run_until_complete(room.close())
    finally:
        loop.close()


async def test_sessions_and_health_say_so_too(valkey: Server) -> None:
    room = Greenroom(valkey.address)
    for call in (lambda: room.sessions, lambda: room.presence, lambda: room.unavailable):
        with pytest.raises(RoomNotOpen):
            call()
    with pytest.raises(RoomNotOpen):
        await room.health()
    async with room:
        with pytest.raises(RoomElsewhere):
            await asyncio.to_thread(asyncio.run, room.sessions.start())
        with pytest.raises(RoomElsewhere):
            await asyncio.to_thread(asyncio.run, room.health())
        assert await asyncio.to_thread(lambda: room.unavailable) is None, "it only looks"
    with pytest.raises(RoomClosed):
        await room.health()


FORKED = """
import asyncio, os, sys
from datetime import timedelta
from greenroom import Greenroom, Keyspace
from greenroom.errors import GreenroomError

KEYS = Keyspace("forked:{id}", str, ttl=timedelta(minutes=5))
room = Greenroom(sys.argv[1])

@room.cached(KEYS)
async def value(id: str) -> str:
    return id

async def tried(call):
    try:
        return str(await call)
    except GreenroomError as error:
        return f"{type(error).__name__}: {error}"

async def child():
    print(await tried(value("a")), flush=True)
    print(await tried(room.sessions.start()), flush=True)
    print(await tried(room.__aenter__()), flush=True)
    print(await tried(room.close()), flush=True)
    try:
        room.cache(Keyspace("late:{id}", str, ttl=timedelta(minutes=5)), load=str)
    except GreenroomError as error:
        print(f"{type(error).__name__}: {error}", flush=True)

async def main():
    async with room:
        await value("a"), await value("a")
        pid = os.fork()
        if not pid:
            step = child()
            try:
                step.send(None)  # in the loop that the child has inherited, to the end: nothing of it waits
            except StopIteration:
                pass
            os._exit(0)
        os.waitpid(pid, 0)
        pid = os.fork()
        if not pid:
            asyncio._set_running_loop(None)
            asyncio.run(child())
            os._exit(0)
        os.waitpid(pid, 0)
        print(await value("b"), await room.sessions.active(), flush=True)

asyncio.run(main())
"""


def test_a_forked_child_is_told_and_leaves_its_parents_connection_alone(valkey: Server) -> None:
    program = [sys.executable, "-W", "ignore", "-c", FORKED, valkey.address]
    run = subprocess.run(program, capture_output=True, text=True, timeout=60, check=False)
    lines = run.stdout.splitlines()
    assert len(lines) == 11, run.stderr
    for line in lines[:-1]:
        assert line.startswith("RoomElsewhere: the room was opened in process ")
        assert line.endswith("from which this one was forked: make and open a Greenroom after the fork")
    assert lines[-1] == "b 0"


async def test_a_room_may_be_closed_before_the_end_of_its_block(valkey: Server) -> None:
    room, cache = declared(valkey.address)
    async with room:
        await cache.get("a")
        await room.close()
        with pytest.raises(RoomClosed):
            await cache.get("a")
        await room.close()
    async with room:
        assert await cache.get("a") == Show("a")


async def test_what_a_block_declares_is_declared_anew_in_the_next(valkey: Server) -> None:
    room = Greenroom(valkey.address, sessions=False)
    before: Cache[Show] | None = None
    for version in "12":

        async def loaded(show_id: str, version: str = version) -> Show:
            return Show(show_id, version)

        async with room:
            cache = room.cache(SHOW, load=loaded)
            await cache.invalidate("a")
            assert await cache.get("a") == Show("a", version)
            with pytest.raises(InvalidInput, match="differs in load"):
                room.cache(SHOW, load=load)
            assert len(list(room._caches)) == 1
        if before is not None:
            with pytest.raises(RoomClosed):
                await before.get("a")
        before = cache


async def test_a_block_declares_its_limits_and_jobs_anew_too(valkey: Server) -> None:
    room = Greenroom(valkey.address, sessions=False)
    room.rate_limit("always", 1, per=MINUTES)
    room.progress(ALWAYS, load=load, order=ORDER, status=constant)
    before: Jobs[Show] | None = None
    for number in (1, 2):

        def status(show: Show) -> str:
            return show.status

        async with room, asyncio.timeout(30):
            if before is not None:
                endless = before.follow("a")
                assert await anext(endless) == Show("a"), "it is opened again, until another takes its place"
            for _ in range(2):
                limit = room.rate_limit("exports", number, per=MINUTES)
                jobs = room.progress(SHOW, load=load, order=ORDER, status=status)
            assert limit.bound.most == number
            assert jobs is not before
            assert await jobs.get("a") == Show("a")
            for kind in ("exports", "always"):
                with pytest.raises(InvalidInput, match="has another limit already"):
                    room.rate_limit(kind, 7, per=MINUTES)
            for keyspace in (SHOW, ALWAYS):
                with pytest.raises(InvalidInput, match="status"):
                    room.progress(keyspace, load=load, order=ORDER, status=lambda show: "queued")
        if before is not None:
            async with asyncio.timeout(30):
                with pytest.raises(RoomClosed):
                    await anext(endless)
        before = jobs
    room.rate_limit("exports", 3, per=MINUTES)
    async with room:
        with pytest.raises(InvalidInput, match="has another limit already: 3"):
            room.rate_limit("exports", 4, per=MINUTES)


async def test_a_cache_that_a_block_declared_is_opened_again_with_the_room(valkey: Server) -> None:
    room = Greenroom(valkey.address, sessions=False)
    async with room:
        cache = room.cache(SHOW, load=load)  # as a module does that is imported late
    async with room:
        assert await cache.get("a") == Show("a")
        assert room.cache(SHOW, load=load) is cache


async def test_what_a_block_declares_again_is_of_this_block(valkey: Server) -> None:
    """A block declares what an earlier one has · it declares another in its place · two parts of it have one key."""
    room, baskets = Greenroom(valkey.address, sessions=False), Keyspace("basket:{user}", Show, ttl=MINUTES)
    for _ in range(2):
        async with room:
            room.cache(SHOW, load=load)
            room.store(baskets)
    async with room:
        room.cache(SHOW, load=load)
        room.store(baskets)
        with pytest.raises(InvalidInput, match="differs in load"):
            room.cache(SHOW, load=lambda show_id: Show(show_id))
        with pytest.raises(InvalidInput, match="differs in near_for"):
            room.store(baskets, near_for=timedelta(seconds=1))
    room.cache(SHOW, load=load)  # at module level: of every block from now on
    for _ in range(2):
        async with room:
            with pytest.raises(InvalidInput, match="differs in load"):
                room.cache(SHOW, load=lambda show_id: Show(show_id))


def test_a_declaration_is_refused_before_the_room_is_open(valkey: Server) -> None:
    room, _ = declared(valkey.address)
    with pytest.raises(InvalidInput, match="has a cache that differs in groups, load"):
        room.cache(SHOW, load=lambda show_id: Show(show_id))
    for with_sessions in (Greenroom(valkey.address), Greenroom(valkey.address, sessions=SessionSettings())):
        with pytest.raises(InvalidInput, match="of the sessions of this room"):
            with_sessions.cache(Keyspace("session:{id}", Show, ttl=MINUTES), load=load)


async def test_health_says_which_server_does_not_answer(valkey: Server) -> None:
    async with Greenroom(valkey.address) as room:
        health = await room.health()
        assert health.ok
        assert [(one.uses, one.error) for one in health.servers] == [("caches and sessions", None)]
    async with Greenroom(valkey.address, session_address="valkey://127.0.0.1:1") as room:
        caches, sessions = (await room.health()).servers
        assert (caches.uses, caches.error, sessions.uses) == ("caches", None, "sessions")
        assert "127.0.0.1:1" in str(sessions.error)
        assert not (await room.health()).ok


async def test_progress_is_declared_before_and_ended_by_the_room(valkey: Server) -> None:
    record = {"a": Show("a")}
    room = Greenroom(valkey.address, sessions=False)

    async def status(show_id: str) -> Show | None:
        return record.get(show_id)

    jobs = room.progress(SHOW, load=status, order=ORDER)
    assert room.progress(SHOW, load=status, order=ORDER) is jobs
    with pytest.raises(InvalidInput, match="has not one part"):
        room.progress(Keyspace("page:{show}:{page}", Show, ttl=MINUTES), load=lambda show, page: None, order=ORDER)
    seen: list[Any] = []

    async def follow() -> None:
        async for one in jobs.follow("a"):
            seen.append(one.status)
            record["a"] = Show("a", "ready")
            await jobs.cache.invalidate("a")

    async with room, asyncio.timeout(30):
        assert (await jobs.get("a"), await jobs.get("none")) == (Show("a"), None)
        await follow()
        assert seen == ["queued", "ready"]
        record["b"] = Show("b")
        endless = jobs.follow("b")
        assert await anext(endless) == Show("b")
    async with asyncio.timeout(30):
        with pytest.raises(RoomClosed):
            await anext(endless)
