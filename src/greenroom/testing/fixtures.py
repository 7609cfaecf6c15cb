"""Fixtures for tests of code that uses a room. In your `conftest.py`:

    pytest_plugins = ["greenroom.testing.fixtures"]

`greenroom_room` works in the asynchronous tests of

- pytest-asyncio, in its auto and its strict mode. Room and test share an event loop where fixtures and tests have the
  same loop scope, as they do by default;
- anyio's plugin, on asyncio: let the fixture `anyio_backend` return "asyncio", since a room does not run on trio. Where
  pytest-asyncio is installed as well, it must be in its strict mode, which is its default.

`greenroom_clock` needs neither. In other tests (`unittest`, pytest-trio) open a room yourself:

    async with Greenroom(clock=ManualClock()) as room: ...
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, cast

import pytest

from greenroom.client import Greenroom
from greenroom.testing.clock import ManualClock

try:
    from pytest_asyncio import fixture as _asyncio_fixture
except ModuleNotFoundError as error:
    if error.name != "pytest_asyncio":
        raise  # it is installed and does not load: its own error says why
    _asyncio_fixture = cast(Any, None)


@pytest.fixture
def greenroom_clock() -> ManualClock:
    """The clock of `greenroom_room`, at 2026-01-01 in UTC until the test moves it."""
    return ManualClock()


@pytest.fixture
def greenroom_room(request: pytest.FixtureRequest) -> Greenroom:
    """An empty room for one test, with a Valkey of its own that is gone after the test."""
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
async def _on_anyio(greenroom_clock: ManualClock) -> AsyncIterator[Greenroom]:
    async with Greenroom(clock=greenroom_clock) as room:
        yield room


if _asyncio_fixture is not None:

    @_asyncio_fixture(name="_greenroom_on_asyncio")
    async def _on_asyncio(greenroom_clock: ManualClock) -> AsyncIterator[Greenroom]:
        async with Greenroom(clock=greenroom_clock) as room:
            yield room
