"""Fixtures on real servers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from greenroom.engine import Address, Standalone
from tests.servers import Server, redis_binary, valkey_binary


def _binaries() -> list[Any]:
    redis = redis_binary()
    skip = pytest.mark.skip(reason="redis-server is not installed; .ci/run installs it")
    return [
        pytest.param(valkey_binary(), id="valkey"),
        pytest.param(redis, id="redis", marks=[] if redis else [skip]),
    ]


@pytest.fixture(params=_binaries())
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Server]:
    """A server of its own for one test, on each kind of server at hand."""
    server = Server(request.param, tmp_path)
    server.start()
    yield server
    server.kill()


@pytest.fixture
def valkey(tmp_path: Path) -> Iterator[Server]:
    """A Valkey of its own for one test."""
    server = Server(valkey_binary(), tmp_path)
    server.start()
    yield server
    server.kill()


@pytest.fixture
async def connect() -> AsyncIterator[Callable[..., Awaitable[Standalone]]]:
    """Opens engines to a server, and closes them after the test."""
    async with AsyncExitStack() as stack:

        async def opened(server: Server, **options: Any) -> Standalone:
            engine = Standalone(Address.parse(server.address), **options)
            stack.push_async_callback(engine.close)
            await engine.start()
            return engine

        yield opened
