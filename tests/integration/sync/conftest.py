"""Synchronous rooms, closed after the test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from greenroom.sync import Greenroom
from tests.support.real_servers import Server


@pytest.fixture
def make_room(valkey: Server) -> Iterator[Callable[..., Greenroom]]:
    """Makes rooms on the test's server."""
    with ExitStack() as stack:

        def make(**options: Any) -> Greenroom:
            room = Greenroom(valkey.address, **options)
            stack.callback(room.close)
            return room

        yield make


@pytest.fixture
def room(make_room: Callable[..., Greenroom]) -> Greenroom:
    """A room that nobody has opened."""
    return make_room()
