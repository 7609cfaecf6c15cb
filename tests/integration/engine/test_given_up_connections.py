"""A caller who gives up at the moment when his connection is made leaves none behind, on either event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
import uvloop

from greenroom.counters import Histogram
from greenroom.engine import Address
from greenroom.engine.limits import Limits
from greenroom.engine.transport.connection import Connection
from greenroom.engine.transport.handshake import open_connection
from tests.support.real_servers import Server

LOOPS: list[Callable[[], asyncio.AbstractEventLoop]] = [asyncio.new_event_loop, uvloop.new_event_loop]


@pytest.mark.parametrize("loop", LOOPS, ids=["asyncio", "uvloop"])
def test_a_connection_given_up_as_it_is_made_has_ended(
    valkey: Server, loop: Callable[[], asyncio.AbstractEventLoop], monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Connection] = []
    real = Connection.connection_made

    async def give_up() -> None:
        opening = asyncio.create_task(
            open_connection(
                Address.parse(valkey.address), "given up", heartbeat=True, latency=Histogram(), limits=Limits()
            )
        )

        def connection_made(self: Connection, transport: Any) -> None:
            real(self, transport)
            made.append(self)
            opening.cancel()

        monkeypatch.setattr(Connection, "connection_made", connection_made)
        with pytest.raises(asyncio.CancelledError):
            await opening
        assert made[0]._transport is None
        assert made[0]._timer is None

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(give_up())
    assert len(made) == 1
