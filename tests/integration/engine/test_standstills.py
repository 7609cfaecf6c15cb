"""A process that has stood still reads what has come meanwhile before it says that nothing came, on both loops."""

from __future__ import annotations

import asyncio
import select
import time
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import Any

import pytest
import uvloop

from greenroom.engine import Address, Channel, Engine, Limits, engine_at
from greenroom.engine.server.standalone import Standalone
from greenroom.errors import EngineUnavailable
from tests.support.listeners import listening
from tests.support.real_servers import Server

DEADLINE = 0.7
LIMITS = Limits(command_deadline=DEADLINE, handshake_deadline=60, ping_timeout=60)
LONG = 1.0
"""Seconds of a standstill: longer than a call may take."""
LOOPS: list[Callable[[], asyncio.AbstractEventLoop]] = [asyncio.new_event_loop, uvloop.new_event_loop]

pytestmark = pytest.mark.parametrize("loop", LOOPS, ids=["asyncio", "uvloop"])


def run(
    server: Server, loop: Callable[[], asyncio.AbstractEventLoop], test: Callable[[Engine], Awaitable[None]]
) -> int:
    """Run a test with an engine on a loop; returns how often its connections were lost."""
    lost: list[Any] = []

    async def body() -> None:
        engine = listening(engine_at(Address.parse(server.address), limits=LIMITS), on_lost=lost.append)
        await engine.start()
        lost.clear()
        try:
            await test(engine)
            patient = monotonic() + 60
            assert await engine.execute(Channel.TRACKED, "k", "GET", "k", deadline=patient) in (None, b"v")
        finally:
            seen = len(lost)
            await engine.close()
        del lost[seen:]

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(body())
    return len(lost)


async def ask(engine: Engine, channel: Channel, deadline: float | None) -> asyncio.Future[Any]:
    """A question whose bytes have gone."""
    asked = asyncio.ensure_future(engine.execute(channel, "k", "GET", "k", deadline=deadline))
    connection = connected(engine, channel)
    while not connection._sent_at:
        await asyncio.sleep(0)
    return asked


def connected(engine: Engine, channel: Channel) -> Any:
    assert isinstance(engine, Standalone)
    return engine._node._links[channel].connection


def stand_still(connection: Any, *, answered: bool) -> None:
    """Let nothing of this process run for long; what is asked is answered meanwhile."""
    began = monotonic()
    if answered:
        assert select.select([connection._transport.get_extra_info("socket").fileno()], [], [], 30)[0]
    time.sleep(max(0.0, began + LONG - monotonic()))


@pytest.mark.parametrize("channel", [Channel.TRACKED, Channel.PLAIN])
@pytest.mark.parametrize("timed", [False, True], ids=["the connection's deadline", "the caller's deadline"])
def test_a_reply_that_came_in_a_standstill_is_read(
    valkey: Server, loop: Callable[[], asyncio.AbstractEventLoop], channel: Channel, timed: bool
) -> None:
    valkey.raw()("SET", "k", "v")

    async def test(engine: Engine) -> None:
        asked = await ask(engine, channel, monotonic() + DEADLINE if timed else None)
        stand_still(connected(engine, channel), answered=True)
        assert await asked == b"v"

    assert run(valkey, loop, test) == 0


@pytest.mark.parametrize("timed", [False, True], ids=["the connection's deadline", "the caller's deadline"])
def test_a_server_that_says_nothing_is_found_out_all_the_same(
    valkey: Server, loop: Callable[[], asyncio.AbstractEventLoop], timed: bool
) -> None:
    async def test(engine: Engine) -> None:
        with valkey.frozen():
            asked = await ask(engine, Channel.PLAIN, monotonic() + DEADLINE if timed else None)
            stand_still(connected(engine, Channel.PLAIN), answered=False)
            with pytest.raises(EngineUnavailable):
                async with asyncio.timeout(30):
                    await asked

    run(valkey, loop, test)
