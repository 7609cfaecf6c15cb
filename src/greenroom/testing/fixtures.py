"""Fixtures for tests of code that uses a room. In your `conftest.py`:

    pytest_plugins = ["greenroom.testing.fixtures"]

One Valkey serves all tests of a run, or of each worker of pytest-xdist; it is flushed before each test that uses it.

`greenroom_room` works in the asynchronous tests of

- pytest-asyncio, in its auto and its strict mode. Room and test share an event loop where fixtures and tests have the
  same loop scope, as they do by default;
- anyio's plugin, on asyncio: let the fixture `anyio_backend` return "asyncio", since a room does not run on trio. Where
  pytest-asyncio is installed as well, it must be in its strict mode, which is its default.

The other fixtures need neither. In other tests (`unittest`, pytest-trio) open a room yourself:

    async with Greenroom(clock=ManualClock()) as room: ...
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any, cast

import pytest

from greenroom.client import Greenroom
from greenroom.testing.clock import ManualClock
from greenroom.testing.server import Outage, ValkeyServer, running_server

try:
    from pytest_asyncio import fixture as _asyncio_fixture
except ModuleNotFoundError as error:
    if error.name != "pytest_asyncio":
        raise  # it is installed and does not load: its own error says why
    _asyncio_fixture = cast(Any, None)


@pytest.fixture(name="_greenroom_running", scope="session")
def _running() -> Iterator[ValkeyServer]:
    with running_server() as server:
        yield server


@pytest.fixture
def greenroom_server(_greenroom_running: ValkeyServer) -> Iterator[ValkeyServer]:
    """The Valkey of this test run, empty. An application that opens its own room is given its `address`."""
    _greenroom_running.start()
    _greenroom_running.flush()
    yield _greenroom_running
    _greenroom_running.start()  # where a test has left an outage on


@pytest.fixture
def greenroom_outage(greenroom_server: ValkeyServer) -> Outage:
    """A switch: `with greenroom_outage:` nobody can ask the server."""
    return Outage(greenroom_server)


@pytest.fixture
def greenroom_clock(request: pytest.FixtureRequest) -> ManualClock:
    """The clock of `greenroom_room`, at 2026-01-01 in UTC until the test moves it; it moves the test's server too."""
    clock = ManualClock()
    if {"greenroom_server", "greenroom_room", "greenroom_outage"} & set(request.fixturenames):
        clock.moves_server(request.getfixturevalue("greenroom_server"))
    return clock


@pytest.fixture
def greenroom_room(request: pytest.FixtureRequest) -> Greenroom:
    """A room for one test, on a server that is empty."""
    # Which plugin runs the test is known only now, and each sees to its own kind of fixture.
    if "anyio_backend" in request.fixturenames:
        room = request.getfixturevalue("_greenroom_on_anyio")
    elif _asyncio_fixture is not None:
        room = request.getfixturevalue("_greenroom_on_asyncio")
    else:
        raise pytest.UsageError("greenroom_room needs pytest-asyncio, or a test that anyio's plugin runs")
    assert isinstance(room, Greenroom)
    return room


@pytest.fixture(name="_greenroom_on_anyio")
async def _on_anyio(greenroom_server: ValkeyServer, greenroom_clock: ManualClock) -> AsyncIterator[Greenroom]:
    async with Greenroom(greenroom_server.address, clock=greenroom_clock) as room:
        yield room


if _asyncio_fixture is not None:

    @_asyncio_fixture(name="_greenroom_on_asyncio")
    async def _on_asyncio(greenroom_server: ValkeyServer, greenroom_clock: ManualClock) -> AsyncIterator[Greenroom]:
        async with Greenroom(greenroom_server.address, clock=greenroom_clock) as room:
            yield room
