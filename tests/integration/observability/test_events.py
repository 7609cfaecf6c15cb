"""What `on_event` is told of, and that a hook that fails changes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest

from greenroom import Greenroom
from greenroom.errors import LoadTimeout
from greenroom.observe import CacheTrouble, Event, LoadEnded, ServerConnected, ServerLost
from tests.support.episode_caches import EPISODE, KEY, Episode, Loads
from tests.support.patience import until
from tests.support.real_servers import Server

pytestmark = pytest.mark.one_kind


def of(kind: type[Any], events: list[Event]) -> list[Any]:
    return [event for event in events if isinstance(event, kind)]


async def test_loads_are_told_with_their_keys_time_and_error(server: Server) -> None:
    events, load = list[Event](), Loads()

    async def load_many(ids: Sequence[str]) -> list[Episode | None]:
        return [Episode(one) for one in ids]

    async with Greenroom(server.address, on_event=events.append) as room:
        episodes = room.cache(EPISODE, load=load, load_many=load_many)
        await episodes.get("e1")
        await episodes.get("e1")
        await episodes.get_many(["e2", "e3"])
        load.error = LookupError("none")
        with pytest.raises(LookupError):
            await episodes.get("e4")
    loads = of(LoadEnded, events)
    assert [(one.keyspace, one.keys, one.error) for one in loads] == [
        ("cache_episode", (KEY,), None),
        ("cache_episode", ("cache:episode:e2", "cache:episode:e3"), None),
        ("cache_episode", ("cache:episode:e4",), load.error),
    ]
    assert all(one.seconds >= 0 for one in loads)
    assert of(CacheTrouble, events) == [CacheTrouble("cache_episode", "load", "cache:episode:e4")]


async def test_a_loader_that_is_cancelled_at_its_deadline_is_told_so(server: Server) -> None:
    events, load = list[Event](), Loads()
    load.go.clear()
    async with Greenroom(server.address, on_event=events.append) as room:
        with pytest.raises(LoadTimeout):
            await room.cache(EPISODE, load=load, loader_deadline=timedelta(milliseconds=1)).get("e1")
    (ended,) = of(LoadEnded, events)
    assert isinstance(ended.error, LoadTimeout)


async def test_connections_and_what_breaks_are_told(server: Server) -> None:
    events = list[Event]()
    async with Greenroom(server.address, on_event=events.append) as room:
        assert {(one.node, one.channel) for one in of(ServerConnected, events)} == {
            (server.address, "tracked"),
            (server.address, "plain"),
        }
        server.raw()("SET", KEY, b"[]", "EX", 600)
        await room.cache(EPISODE, load=Loads()).get("e1")
        assert of(CacheTrouble, events) == [CacheTrouble("cache_episode", "broken", KEY)]
        server.raw()("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        await until(lambda: len(of(ServerConnected, events)) == 4)
    lost = of(ServerLost, events)[:2]
    assert {one.channel for one in lost} == {"tracked", "plain"}
    assert all("closed the connection" in one.reason for one in lost)


async def test_a_hook_that_raises_ends_no_connection_and_no_load(server: Server) -> None:
    def failing(event: Event) -> None:
        raise RuntimeError("of the hook")

    async with Greenroom(server.address, on_event=failing) as room:
        episodes = room.cache(EPISODE, load=Loads())
        assert await episodes.get("e1") == Episode("e1")
        server.raw()("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        await until(lambda: room.counters.engine_events[server.address, "tracked_connected"] == 2)
        assert await episodes.get("e1") == Episode("e1")
        await room.ready()
        live, _ = await room.sessions.start()
        assert live.session_id
        assert room.counters.events.failures >= 5
        assert room.counters.engine_events[server.address, "tracked_lost"] == 1
