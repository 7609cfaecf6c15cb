"""Values that take longer than a call may: the caller has its deadline, the connection stays, nobody is mixed up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from time import monotonic
from typing import Any

import pytest

from greenroom.counters import Counters
from greenroom.engine import Address, Channel, Limits
from greenroom.engine.protocol.errors import ConnectionLost, NoReply
from greenroom.engine.server.standalone import Standalone
from greenroom.engine.transport import connection as connection_module
from greenroom.engine.transport.connection import Connection
from greenroom.errors import EngineError, EngineUnavailable, OutcomeUnknown
from tests.support.gateways import Gateway, eventually, gateway
from tests.support.real_servers import Server

DEADLINE = 0.3
BIG = b"x" * 4_000_000
LIMITS = Limits(command_deadline=DEADLINE, ping_after=0.05, ping_timeout=DEADLINE, tick=0.01, handshake_deadline=10.0)


@pytest.fixture(autouse=True)
def look(monkeypatch: pytest.MonkeyPatch) -> Callable[[], float]:
    """A connection's clock that goes on by a tenth of a second at most between two looks.

    Prevents: the loop stands still for the deadline, and the gateway in it as well · the connection looks before the
    gateway goes on · it is ended as silent.
    """
    now, seen = 0.0, monotonic()

    def clock() -> float:
        nonlocal now, seen
        before, seen = seen, monotonic()
        now += min(seen - before, 0.1)
        return now

    monkeypatch.setattr(connection_module, "monotonic", clock)
    return clock


@pytest.fixture
async def way(server: Server) -> AsyncIterator[Gateway]:
    async with gateway(server) as opened:
        yield opened


async def engine_at(way: Gateway, counters: Counters, limits: Limits = LIMITS) -> Standalone:
    engine = Standalone(Address.parse(way.address), counters=counters, limits=limits)
    await engine.start()
    return engine


def connection_of(engine: Standalone, channel: Channel) -> Connection | None:
    return engine._node.connection(channel)


@pytest.mark.parametrize("channel", Channel)
async def test_a_long_value_ends_its_callers_wait_and_not_the_connection(
    server: Server, way: Gateway, channel: Channel
) -> None:
    raw, counters = server.raw(), Counters()
    raw("SET", "big", BIG)
    raw("SET", "small", "s")
    engine = await engine_at(way, counters)
    arrived: list[Any] = []
    try:
        way.down = 4096  # a second or more for all of it
        connection = connection_of(engine, channel)
        commands = (("GET", "big"),)
        with pytest.raises(EngineError):
            await engine.execute_all(channel, "big", commands, hook=lambda replies, _: arrived.extend(replies))
        with pytest.raises(EngineError):
            await engine.execute(channel, "small", "GET", "small")  # it waits behind
        with pytest.raises(OutcomeUnknown):
            await engine.execute(channel, "n", "INCR", "n", retry=False)
        way.down = 0
        await eventually(lambda: arrived == [BIG])
        assert await engine.execute(channel, "small", "GET", "small") == b"s"
        assert connection_of(engine, channel) is connection
        assert counters.engine_events[way.address, f"{channel.value}_lost"] == 0
        assert raw("GET", "n") == b"1"
    finally:
        await engine.close()


async def test_a_value_over_a_slow_line_does_not_end_the_connection(server: Server, way: Gateway) -> None:
    # A busy machine may stand still for longer than the default.
    limits = Limits(command_deadline=1.0, ping_timeout=1.5, handshake_deadline=10.0)
    engine = await engine_at(way, Counters(), limits)
    try:
        # Half a megabyte in a second: a system that took whatever its buffers hold would take no more for seconds.
        way.up, way.pause = 16384, 0.03
        connection = connection_of(engine, Channel.TRACKED)
        assert connection is not None
        with pytest.raises(EngineError):
            await engine.execute(Channel.TRACKED, "big", "SET", "big", BIG * 3)
        # So long may a connection stay silent.
        await asyncio.sleep(limits.ping_after + limits.ping_timeout)
        way.up = 0
        await eventually(lambda: server.raw()("STRLEN", "big") == len(BIG) * 3)
        await eventually(lambda: connection.outstanding == 0)
        assert connection_of(engine, Channel.TRACKED) is connection
    finally:
        await engine.close()


async def test_callers_behind_a_value_on_a_slow_line_have_their_deadline(server: Server, way: Gateway) -> None:
    # A busy machine may stand still for longer than the default.
    limits = Limits(command_deadline=1.0, reply_deadline=600.0, ping_timeout=60.0, tick=0.01)
    raw, engine = server.raw(), await engine_at(way, Counters(), limits)
    try:
        connection = connection_of(engine, Channel.PLAIN)
        assert connection is not None
        way.up = 4096  # six seconds or more for all of it
        asked = asyncio.create_task(engine.execute(Channel.PLAIN, "big", "SET", "big", BIG * 6))
        await eventually(lambda: connection._paused)
        with pytest.raises(NoReply):
            await engine.execute(Channel.PLAIN, "small", "GET", "small")
        with pytest.raises(OutcomeUnknown):
            await engine.execute(Channel.PLAIN, "n", "INCR", "n", retry=False)
        with pytest.raises(NoReply):
            await asked
        assert raw("STRLEN", "big") == 0, "they were told before it was through"
        way.up = 0
        await eventually(lambda: connection.outstanding == 0)
        assert raw("GET", "n") == b"1"
        assert await engine.execute(Channel.PLAIN, "n", "GET", "n") == b"1"
        assert connection_of(engine, Channel.PLAIN) is connection
    finally:
        await engine.close()


async def test_a_write_that_takes_the_deadline_does_not_end_the_connection(
    way: Gateway, look: Callable[[], float], monkeypatch: pytest.MonkeyPatch
) -> None:
    limits = Limits(command_deadline=5.0, reply_deadline=60.0, ping_timeout=5.0)
    engine = await engine_at(way, Counters(), limits)
    try:
        connection, passed = connection_of(engine, Channel.TRACKED), 0.0
        assert connection is not None
        assert connection._transport is not None
        write = connection._transport.write

        def slowly(data: bytes) -> None:
            nonlocal passed
            write(data)
            passed += 2 * limits.command_deadline * (len(data) > len(BIG))

        monkeypatch.setattr(connection_module, "monotonic", lambda: look() + passed)
        monkeypatch.setattr(connection._transport, "write", slowly)
        way.up = 16384
        asked = asyncio.create_task(engine.execute(Channel.TRACKED, "big", "SET", "big", BIG * 3))
        await eventually(lambda: passed)
        way.up = 0
        await asyncio.wait([asked])
        await eventually(lambda: connection.outstanding == 0)
        assert connection_of(engine, Channel.TRACKED) is connection
    finally:
        await engine.close()


async def test_a_long_value_that_stops_ends_the_connection(server: Server, way: Gateway) -> None:
    server.raw()("SET", "big", BIG)
    counters = Counters()
    engine = await engine_at(way, counters)
    try:
        way.down = 4096
        asked = asyncio.create_task(engine.execute(Channel.PLAIN, "big", "GET", "big"))
        await asyncio.wait([asked])
        assert isinstance(asked.exception(), EngineUnavailable)
        way.swallow()
        await eventually(lambda: counters.engine_events[way.address, "plain_lost"] == 1)
    finally:
        await engine.close()


async def test_bytes_that_never_end_a_reply_end_the_connection_at_last(server: Server, way: Gateway) -> None:
    server.raw()("SET", "big", BIG)
    counters = Counters()
    limits = Limits(command_deadline=DEADLINE, reply_deadline=2 * DEADLINE, tick=0.01)
    engine = await engine_at(way, counters, limits)
    try:
        way.down = 512
        asked = asyncio.create_task(engine.execute(Channel.PLAIN, "big", "GET", "big"))
        await asyncio.wait([asked])
        assert isinstance(asked.exception(), NoReply | ConnectionLost)
        await eventually(lambda: counters.engine_events[way.address, "plain_lost"] == 1)
    finally:
        await engine.close()
