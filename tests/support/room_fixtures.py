"""Fixtures that open parts of a room on a given server, one as each process has, and close them after the test."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest

from greenroom.caching.invalidation import Backing
from greenroom.engine import Address, Engine, engine_at
from tests.support.episode_caches import open_backing
from tests.support.listeners import listening
from tests.support.proxy import Proxy
from tests.support.real_cluster import Cluster
from tests.support.real_servers import Server
from tests.support.session_stores import Open, Store, close_sessions, open_sessions

HOOKS = {"scripts", "on_invalidate", "on_lost", "before_use", "before_serving"}
"""What a listener is made of; see `listening`."""


@pytest.fixture
async def proxy(valkey: Server) -> AsyncIterator[Proxy]:
    """Stands before the server."""
    async with Proxy(valkey) as proxy:
        yield proxy


@pytest.fixture
async def connect() -> AsyncIterator[Callable[..., Awaitable[Any]]]:
    """Opens engines to a server or a cluster, with `HOOKS` as a listener, and closes them after the test."""
    async with AsyncExitStack() as stack:

        async def opened(server: Server | Cluster, **options: Any) -> Engine:
            hooks = {name: options.pop(name) for name in HOOKS & options.keys()}
            engine = listening(engine_at(Address.parse(server.address), **options), **hooks)
            stack.push_async_callback(engine.close)
            await engine.start()
            return engine

        yield opened


@pytest.fixture
async def back() -> AsyncIterator[Callable[..., Awaitable[Backing]]]:
    """Opens what caches stand on, one as each process has, and closes it after the test."""
    async with AsyncExitStack() as stack:

        async def opened(server: Server, **options: Any) -> Backing:
            backing = await open_backing(server.address, **options)
            stack.push_async_callback(backing.close)
            return backing

        yield opened


@pytest.fixture
async def store() -> AsyncIterator[Open]:
    """Opens sessions, as one process has them, and closes them after the test."""
    async with AsyncExitStack() as stack:

        async def opened(server: Any, *args: Any, **options: Any) -> Store:
            sessions = await open_sessions(server, *args, **options)
            stack.push_async_callback(close_sessions, sessions)
            return sessions

        yield opened
