"""A room is opened and closed by one caller at a time, and in its own event loop: nobody closes what another opens."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from greenroom import Greenroom, Keyspace
from greenroom.errors import InvalidInput, RoomClosed, RoomElsewhere
from tests.support.real_servers import Server

WORDS = Keyspace("word:{id}", str, ttl=timedelta(minutes=5))
LATE = Keyspace("late:{id}", str, ttl=timedelta(minutes=5))


async def load(id: str) -> str:
    return id


class Held:
    """A loader that has something to put back when it is cancelled, and takes its time for it."""

    def __init__(self) -> None:
        self.called, self.cancelled, self.put_back = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def load(self, id: str) -> str:
        self.called.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            await self.put_back.wait()
            raise
        return id


async def elsewhere(work: Coroutine[Any, Any, object]) -> None:
    """Run it in another event loop."""
    await asyncio.to_thread(asyncio.run, work)


def others() -> set[str]:
    """The tasks besides the test's own."""
    mine = asyncio.current_task()
    return {task.get_name() for task in asyncio.all_tasks() if task is not mine and not task.done()}


async def soon() -> None:
    """Let all who can go on do so."""
    for _ in range(20):
        await asyncio.sleep(0)


async def test_of_two_who_open_it_at_once_one_is_refused(valkey: Server) -> None:
    room = Greenroom(valkey.address)
    before = others()
    results = await asyncio.gather(room.__aenter__(), room.__aenter__(), return_exceptions=True)
    assert [type(one) for one in results] == [Greenroom, InvalidInput]
    assert "room: is being opened already; leave its block first" in str(results[1])
    await room.close()
    assert others() == before


async def test_an_opening_that_fails_or_is_cancelled_leaves_it_closed(valkey: Server, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    refused = Greenroom(data_dir=tmp_path / "file")
    for _ in range(2):
        with pytest.raises(InvalidInput, match="data_dir"):
            await refused.__aenter__()
    room, before = Greenroom(valkey.address), others()
    opening = asyncio.create_task(room.__aenter__())
    await asyncio.sleep(0)
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    assert others() == before
    async with room:
        assert (await room.health()).ok


async def test_who_closes_it_while_it_is_opened_finds_it_closed(valkey: Server) -> None:
    room, before = Greenroom(valkey.address), others()
    opening = asyncio.create_task(room.__aenter__())
    await asyncio.sleep(0)
    await room.close()
    await opening
    with pytest.raises(RoomClosed):
        await room.health()
    assert others() == before


async def test_closing_and_reopening_wait_for_a_closing_under_way(valkey: Server) -> None:
    room, held = Greenroom(valkey.address), Held()
    words = room.cache(WORDS, load=load)
    stuck = room.cache(LATE, load=held.load)
    await room.__aenter__()
    read = asyncio.create_task(stuck.get("a"))
    await held.called.wait()
    closing = [asyncio.create_task(room.close())]
    await held.cancelled.wait()
    closing.append(asyncio.create_task(room.close()))
    reopening = asyncio.create_task(room.__aenter__())
    await soon()
    assert not any(task.done() for task in (*closing, reopening))
    with pytest.raises(InvalidInput, match="is being closed already; wait for that in its event loop"):
        await elsewhere(room.__aenter__())
    with pytest.raises(RoomElsewhere):
        await elsewhere(room.close())
    held.put_back.set()
    await asyncio.gather(*closing, reopening)
    await asyncio.wait([read])
    assert (await words.get("a"), (await room.health()).ok) == ("a", True)
    await room.sessions.start()
    await room.close()


async def test_who_is_cancelled_while_he_closes_it_has_closed_it(valkey: Server) -> None:
    room, held = Greenroom(valkey.address), Held()
    stuck = room.cache(LATE, load=held.load)
    await room.__aenter__()
    read = asyncio.create_task(stuck.get("a"))
    await held.called.wait()
    closing = asyncio.create_task(room.close())
    await held.cancelled.wait()
    closing.cancel()
    await soon()
    assert not closing.done()
    held.put_back.set()
    await asyncio.wait([closing, read])
    assert closing.cancelled()
    async with room:
        assert (await room.health()).ok


async def test_it_is_not_closed_from_another_event_loop(valkey: Server) -> None:
    room = Greenroom(valkey.address)
    words = room.cache(WORDS, load=load)
    async with room:
        await words.get("a")
        with pytest.raises(RoomElsewhere, match="another event loop: use it there"):
            await elsewhere(room.close())
        assert (await words.get("b"), (await room.health()).ok) == ("b", True)
    with pytest.raises(RoomClosed):
        await words.get("a")
    await elsewhere(room.close())  # it is closed: there is nothing to do


async def test_an_open_room_s_caches_are_declared_in_its_own_loop(valkey: Server) -> None:
    room = Greenroom(valkey.address)
    words = room.cache(WORDS, load=load)

    async def declare(keyspace: Keyspace[str]) -> None:
        assert room.cache(keyspace, load=load) is words

    async with room:
        await elsewhere(declare(WORDS))
        with pytest.raises(RoomElsewhere, match="another event loop"):
            await elsewhere(declare(LATE))
        with pytest.raises(RoomElsewhere, match="no event loop runs here"):
            await asyncio.to_thread(lambda: room.cache(LATE, load=load))
        assert [one.keyspace.pattern.text for one in room._caches] == ["word:{id}"]
        assert await room.cache(LATE, load=load).get("a") == "a"


async def test_parts_of_an_earlier_opening_say_so_while_it_is_open(valkey: Server) -> None:
    room = Greenroom(valkey.address)
    async with room:
        sessions, declared = room.sessions, room.cache(WORDS, load=load)
    with pytest.raises(RoomClosed, match="the room is closed"):
        await sessions.start()
    async with room:

        async def other(id: str) -> str:
            return id

        room.cache(WORDS, load=other)
        with pytest.raises(RoomClosed, match="an opening of the room that was closed: ask the room for it anew"):
            await sessions.start()
        assert await declared.get("a") == "a", "it is open until the room is closed"
    async with room:
        with pytest.raises(RoomClosed, match="ask the room for it anew"):
            await declared.get("a")


async def test_a_drop_after_the_room_was_closed_names_its_key(valkey: Server, caplog: pytest.LogCaptureFixture) -> None:
    room = Greenroom(valkey.address)
    words = room.cache(WORDS, load=load, groups=["words:{id}"])
    async with room:
        async with room.changing(words.of("a")):
            await room.close()
        told = r"{} is not dropped, since the room is closed: .*; close the room after the changes, or invalidate this"
        for target, name in ((words.of("b"), "word:b"), (words.group("b"), "words:b")):
            with pytest.raises(RoomClosed, match=told.format(name)):
                await target.drop()
    assert "word:a is not dropped" in caplog.text
