"""Loaders that are not async run in threads, a bounded number of them, beside the event loop."""

from __future__ import annotations

import asyncio
import functools
import subprocess
import sys
import threading
from contextvars import ContextVar
from datetime import timedelta
from typing import Any

import pytest

from greenroom import Greenroom, Keyspace
from greenroom.caching.threads import MAX_LEFT, MAX_THREADS
from greenroom.errors import LoadFailed, LoadTimeout, Overloaded
from tests.support.patience import until
from tests.support.real_servers import Server

WORD = Keyspace("word:{id}", str, ttl=timedelta(minutes=1))
TENANT: ContextVar[str] = ContextVar("tenant")


async def test_a_loader_that_waits_does_not_hold_the_event_loop(valkey: Server) -> None:
    go, loop_ran = threading.Event(), asyncio.Event()

    def load(id: str) -> str:
        assert go.wait(30), "nobody ran while the loader waited"
        return threading.current_thread().name

    async with Greenroom(valkey.address, sessions=False) as room:
        task = asyncio.ensure_future(room.cache(WORD, load=load).get("a"))
        asyncio.get_running_loop().call_later(0.01, loop_ran.set)
        await loop_ran.wait()
        go.set()
        assert str(await task).startswith("greenroom-loader")


async def test_plain_loads_are_bounded_and_the_rest_wait_their_turn(valkey: Server) -> None:
    running, most, begun, go = 0, 0, 0, threading.Event()
    lock = threading.Lock()

    def load(id: str) -> str:
        nonlocal running, most, begun
        with lock:
            running += 1
            begun += 1
            most = max(most, running)
        go.wait(30)
        with lock:
            running -= 1
        return id

    async with Greenroom(valkey.address, sessions=False) as room:
        cache = room.cache(WORD, load=load, loader_deadline=timedelta(seconds=60))
        ids = [f"i{number}" for number in range(3 * MAX_THREADS)]
        task = asyncio.ensure_future(cache.get_many(ids))
        await until(lambda: begun == MAX_THREADS)
        go.set()
        assert await task == ids
    assert most == MAX_THREADS


async def test_a_plain_loader_runs_in_the_context_of_the_room(valkey: Server) -> None:
    TENANT.set("of the room")
    async with Greenroom(valkey.address, sessions=False) as room:
        cache = room.cache(WORD, load=lambda id: TENANT.get())
        TENANT.set("of a caller")
        assert await cache.get("a") == "of the room"
        assert await cache.load("a") == "of a caller"


@pytest.mark.parametrize("kind", ["function", "partial", "object", "method", "coroutine behind a lambda"])
async def test_whatever_can_be_called_is_a_loader(valkey: Server, kind: str) -> None:
    threads: list[threading.Thread] = []

    async def read(id: str) -> str:
        threads.append(threading.current_thread())
        return f"{id}!"

    class Reader:
        async def __call__(self, id: str) -> str:
            return await read(id)

        async def read(self, id: str) -> str:
            return await read(id)

    loaders: dict[str, Any] = {
        "function": read,
        "partial": functools.partial(read),
        "object": Reader(),
        "method": Reader().read,
        "coroutine behind a lambda": lambda id: read(id),
    }
    async with Greenroom(valkey.address, sessions=False) as room:
        cache = room.cache(WORD, load=loaders[kind])
        assert await cache.get("a") == "a!"
        assert threads == [threading.current_thread()], "what is async runs on the event loop, and in no thread"


async def test_what_a_plain_loader_raises_reaches_its_caller(valkey: Server) -> None:
    def load(id: str) -> str:
        raise {"key": KeyError, "end": StopIteration}[id]

    async with Greenroom(valkey.address, sessions=False) as room:
        cache = room.cache(WORD, load=load)
        with pytest.raises(KeyError):
            await cache.get("key")
        with pytest.raises((RuntimeError, LoadFailed), match="StopIteration"):
            await cache.get("end")


async def test_a_plain_load_past_its_deadline_is_given_up(valkey: Server) -> None:
    go = threading.Event()
    async with Greenroom(valkey.address, sessions=False) as room:
        cache = room.cache(WORD, load=lambda id: str(go.wait(30)), loader_deadline=timedelta(milliseconds=50))
        with pytest.raises(LoadTimeout):
            await cache.get("a")
        go.set()


def test_a_thread_whose_load_ends_after_the_loops_last_turn_ends_too(valkey: Server) -> None:
    go, threads = threading.Event(), list[threading.Thread]()

    def load(id: str) -> str:
        threads.append(threading.current_thread())
        go.wait(30)
        return id

    async def given_up() -> None:
        async with Greenroom(valkey.address, sessions=False) as room:
            cache = room.cache(WORD, load=load, loader_deadline=timedelta(milliseconds=50))
            with pytest.raises(LoadTimeout):
                await cache.get("a")

    loop, word = asyncio.new_event_loop(), threading.Event()
    loop.run_until_complete(given_up())
    heard = loop.call_soon_threadsafe
    loop.call_soon_threadsafe = lambda *call: (heard(*call), word.set())  # type: ignore[assignment,func-returns-value]
    go.set()
    assert word.wait(30), "the loop takes what it is told, and has no turn left in which to do it"
    loop.close()
    (thread,) = threads
    thread.join(30)
    assert not thread.is_alive()


async def test_a_load_that_begins_after_the_close_leaves_no_thread(valkey: Server) -> None:
    go, threads = threading.Event(), set[threading.Thread]()

    def load(id: str) -> str:
        threads.add(threading.current_thread())
        go.wait(30)
        return id

    async with Greenroom(valkey.address, sessions=False) as room:
        cache = room.cache(WORD, load=load)
        loads = [asyncio.create_task(cache.load(str(number))) for number in range(MAX_THREADS + 4)]
        await until(lambda: len(threads) == MAX_THREADS)
    go.set()
    assert await asyncio.gather(*loads) == [str(number) for number in range(MAX_THREADS + 4)]
    await until(lambda: not any(one.is_alive() for one in threads))


async def test_loads_that_hang_take_nobodys_place(valkey: Server) -> None:
    go = threading.Event()
    short = timedelta(milliseconds=50)
    async with Greenroom(valkey.address, sessions=False) as room:
        hangs = room.cache(WORD, load=lambda id: str(go.wait(60)), loader_deadline=short, failures_for=timedelta(0))
        other = room.cache(Keyspace("other:{id}", str, ttl=timedelta(minutes=1)), load=lambda id: f"{id}!")
        for turn in range(MAX_LEFT // MAX_THREADS):
            ended = await asyncio.gather(
                *(hangs.get(f"{turn}-{number}") for number in range(MAX_THREADS)), return_exceptions=True
            )
            assert {type(error) for error in ended} == {LoadTimeout}
            assert await other.get(f"o{turn}") == f"o{turn}!"
        await asyncio.gather(*(hangs.get(f"last-{number}") for number in range(MAX_THREADS)), return_exceptions=True)
        with pytest.raises(Overloaded, match="all 64 threads are in loaders; give their driver a timeout"):
            await other.get("more")
        go.set()
        await until(lambda: sum(one.name.startswith("greenroom-loader") for one in threading.enumerate()) <= 16)
        assert await other.load("o") == "o!"


HANGS = """
import asyncio, threading
from datetime import timedelta
from greenroom import Greenroom, Keyspace
from greenroom.errors import LoadTimeout

room = Greenroom(sessions=False)

@room.cached(Keyspace("h:{id}", int, ttl=timedelta(minutes=1)), loader_deadline=timedelta(milliseconds=50))
def hangs(id: str) -> int:
    threading.Event().wait()
    return 1

async def main():
    async with room:
        try:
            await hangs("a")
        except LoadTimeout:
            print("given up", flush=True)

asyncio.run(main())
"""


def test_a_program_ends_although_a_loader_hangs() -> None:
    run = subprocess.run([sys.executable, "-c", HANGS], capture_output=True, text=True, timeout=60, check=False)
    assert (run.returncode, run.stdout) == (0, "given up\n"), run.stderr


async def test_a_decorated_plain_function_answers_in_every_opening(valkey: Server) -> None:
    room = Greenroom(valkey.address, sessions=False)

    @room.cached(WORD)
    def word(id: str) -> str:
        return f"{id} of {threading.current_thread().name[:16]}"

    for _ in range(2):
        async with room:
            assert await word("a") == "a of greenroom-loader"
            await word.invalidate("a")
