"""The synchronous face as the asynchronous one: the same test holds for both."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from greenroom import Greenroom, Keyspace, sync
from tests.support.episode_caches import EPISODE
from tests.support.real_servers import Server


class Awaited:
    """A store or cache of `greenroom.sync`, each of whose calls is made in a thread and awaited."""

    def __init__(self, room: sync.Greenroom, one: Any) -> None:
        self._room = room
        self._one = one

    def __getattr__(self, name: str) -> Any:
        member = getattr(self._one, name)
        if not callable(member):
            return member

        def made(*args: Any, **parts: Any) -> Any:
            self._room.ready()  # at the first call, which opens it: nothing is declared in an open room beside a loop
            return member(*args, **parts)

        async def call(*args: Any, **parts: Any) -> Any:
            return await asyncio.to_thread(made, *args, **parts)

        return call


class AwaitedRoom:
    """A room of `greenroom.sync`, whose parts are awaited."""

    def __init__(self, room: sync.Greenroom) -> None:
        self.room = room

    def store(self, *args: Any, **options: Any) -> Any:
        return Awaited(self.room, self.room.store(*args, **options))

    def cache(self, *args: Any, **options: Any) -> Any:
        return Awaited(self.room, self.room.cache(*args, **options))

    @property
    def counters(self) -> Any:
        return self.room.counters


@pytest.fixture(params=["async", "sync"])
async def either(request: pytest.FixtureRequest, server: Server) -> AsyncIterator[Any]:
    """A room of one face and then of the other, on the test's server."""
    if request.param == "async":
        async with Greenroom(server.address, sessions=False) as room:
            await room.ready()  # a busy machine may have opened it without its server, which is no error
            yield room
        return
    threads = sync.Greenroom(server.address, sessions=False)
    yield AwaitedRoom(threads)
    await asyncio.to_thread(threads.close)


class Cached:
    """Makes caches in a room of one face."""

    def __init__(self, room: Any) -> None:
        self._room = room

    def __call__(self, load: Any, keyspace: Keyspace[Any] = EPISODE) -> Any:
        """A cache that keeps nothing near."""
        return self._room.cache(keyspace, load=load, near_for=timedelta(0))

    @property
    def counters(self) -> Any:
        """Those of the room."""
        return self._room.counters


@pytest.fixture
def cached(either: Any) -> Cached:
    """Makes caches of one face and then of the other."""
    return Cached(either)
