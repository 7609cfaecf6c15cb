"""A server that takes no writes is trouble until one succeeds: whatever carries it, and on whichever connection."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest

from greenroom import Greenroom
from greenroom.caching.groups import Members
from greenroom.caching.invalidation import Backing
from greenroom.engine import Channel
from greenroom.engine.listener import all_keys
from greenroom.engine.server.handover import ServerHandover
from greenroom.errors import EngineError
from tests.support.episode_caches import EPISODE, KEY, Episode
from tests.support.patience import until
from tests.support.real_servers import Server

GROUP = "episodes:of:e1"


async def load(episode_id: str) -> Episode:
    return Episode(episode_id)


class Room:
    """A room with something in it, before its server refuses writes."""

    def __init__(self, room: Greenroom, server: Server) -> None:
        self.room = room
        self.server = server
        self.backing: Backing = room._wired().backing
        self.cache = room.cache(EPISODE, load=load, near_for=timedelta(0))
        self.session = self.token = ""

    async def fill(self) -> None:
        live, self.token = await self.room.sessions.start(user_id="u1")
        self.session = live.session_id
        await self.cache.get("e1")
        await self.backing.groups.register(GROUP, KEY)

    @property
    def told(self) -> str:
        return str(self.room.unavailable)


async def nothing(_: Room) -> None:
    pass


async def invalidate(room: Room) -> None:
    await room.cache.invalidate("e1")


async def invalidate_many(room: Room) -> None:
    await room.backing.drops.drop_many([f"cache:episode:e{number}" for number in range(600)])


async def send_what_the_outbox_names(room: Room) -> None:
    await room.backing.outbox_drops.send()


async def mark(room: Room) -> None:
    await room.backing.outbox_drops.add([KEY])


async def load_and_fill(room: Room) -> None:
    await room.cache.get("e2")


async def register(room: Room) -> None:
    await room.backing.groups.register(GROUP, "cache:episode:e2")


async def forget(room: Room) -> None:
    await room.backing.groups.forget(GROUP, Members([KEY], [b"1"]), 1000)


async def hold_a_lease(room: Room) -> None:
    room.server.raw()("SET", "lease:{cache:episode:held}", "token:")


async def release(room: Room) -> None:
    room.backing.releases.release("lease:{cache:episode:held}", "token", "", 0)


async def begin(room: Room) -> None:
    await room.room.sessions.start(user_id="u2")


async def end(room: Room) -> None:
    await room.room.sessions.end(room.session)


async def end_all(room: Room) -> None:
    await room.room.sessions.end_all("u1")


async def end_a_connection(room: Room) -> None:
    """What it owes is carried by the next one, before that serves."""
    room.server.raw()("CLIENT", "KILL", "TYPE", "normal")


async def take_slots_over(room: Room) -> None:
    """What is kept is queued where a node has taken slots over."""
    connection = room.backing.engine._node.connection(Channel.TRACKED)  # type: ignore[attr-defined]
    room.backing.keys_gained(ServerHandover(connection, Channel.TRACKED, "the server", all_keys))


Step = Callable[[Room], Awaitable[Any]]

WAYS: list[tuple[str, Step, Step, Step]] = [
    ("an invalidation", nothing, nothing, invalidate),
    ("invalidations of many keys", nothing, nothing, invalidate_many),
    ("an invalidation kept for the next connection", nothing, invalidate, nothing),
    ("invalidations of many keys kept for it", nothing, invalidate_many, nothing),
    ("one carried again within 30 s", invalidate, nothing, end_a_connection),
    ("one queued for a new owner", invalidate, nothing, take_slots_over),
    ("a drop of the outbox", mark, nothing, send_what_the_outbox_names),
    ("a load's lease and value", nothing, nothing, load_and_fill),
    ("a registration in a group", nothing, nothing, register),
    ("members of a group taken out", nothing, nothing, forget),
    ("a lease given back", hold_a_lease, nothing, release),
    ("a session's start", nothing, nothing, begin),
    ("a session's end", nothing, nothing, end),
    ("the ends of a user's sessions", nothing, nothing, end_all),
    ("an end kept for the next connection", nothing, end, end_a_connection),
    ("an end carried again within 30 s", end, nothing, end_a_connection),
]


@pytest.mark.parametrize(("before", "meanwhile", "way"), [way[1:] for way in WAYS], ids=[way[0] for way in WAYS])
async def test_whatever_write_succeeds_ends_the_trouble(
    server: Server, before: Step, meanwhile: Step, way: Step
) -> None:
    raw = server.raw()
    async with Greenroom(server.address) as opened:
        room = Room(opened, server)
        await room.fill()
        await before(room)
        raw("CONFIG", "SET", "min-replicas-to-write", "1")
        with pytest.raises(EngineError, match="NOREPLICAS"):
            await room.backing.engine.execute(Channel.PLAIN, "none", "DEL", "none")
        assert "NOREPLICAS" in room.told
        with suppress(EngineError):
            await meanwhile(room)
        if meanwhile is nothing:
            await room.cache.get("e1")
            assert "NOREPLICAS" in room.told, "what is read proves nothing"
        raw("CONFIG", "SET", "min-replicas-to-write", "0")
        await way(room)
        await until(lambda: room.room.unavailable is None)


async def test_only_what_concerns_data_proves_that_data_can_be_had(server: Server) -> None:
    raw = server.raw()
    async with Greenroom(server.address) as room:
        engine = room._wired().backing.engine
        raw("CONFIG", "SET", "replica-serve-stale-data", "no")
        raw("REPLICAOF", "127.0.0.1", "1")
        with pytest.raises(EngineError, match="MASTERDOWN"):
            await engine.execute(Channel.PLAIN, "k", "GET", "k")
        await engine.execute(Channel.PLAIN, "k", "INFO", "memory")
        assert "MASTERDOWN" in str(room.unavailable), "a server says what memory it has in any state"
