"""How long what was read on a connection is served: since the newest command that it has answered was sent."""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import Any

import pytest

from greenroom.counters import Histogram
from greenroom.engine import Limits
from greenroom.engine.protocol.errors import ConnectionLost, NotSent
from greenroom.engine.transport.connection import Connection
from tests.support.episode_caches import KEY, Back, Episode, Loads, cache_of, settled
from tests.support.held import connections
from tests.support.patience import until
from tests.support.proxy import Proxy
from tests.support.real_servers import Server

MUTE = Limits(command_deadline=60, ping_after=60)
"""No pings."""


@pytest.mark.own_limits
async def test_pushes_that_come_late_do_not_make_what_is_near_trusted_again(
    valkey: Server, proxy: Proxy, back: Back
) -> None:
    cache = cache_of(await back(proxy, limits=MUTE), Loads(), near_for=30)
    cache._near._max_staleness = Limits().max_staleness  # although nothing is pinged
    await cache.get("e2")
    await cache.get("e1")
    assert cache._near.get(KEY, 0.0) is not None
    replies = proxy.hold_replies()
    raw = valkey.raw()
    raw("DEL", "cache:episode:e2")
    raw("DEL", KEY)
    await replies.have("episode:e2", KEY)
    tracked = connections(cache._backing.engine)[0]
    await until(lambda: cache._near.get(KEY, 0.0) is None, 10)
    heard = tracked.last_received
    replies._pass(1)  # the first chunk of what waits in the socket
    async with asyncio.timeout(10):
        while tracked.last_received == heard:
            await asyncio.sleep(0)
    assert cache._near.get(KEY, 0.0) is None
    replies.release()


@pytest.mark.own_limits
async def test_an_answer_makes_it_trusted_from_its_question_on(valkey: Server, back: Back) -> None:
    cache = cache_of(await back(valkey, limits=MUTE), Loads(), near_for=30)
    cache._near._max_staleness = Limits().max_staleness  # although nothing is pinged
    await cache.get("e1")
    (tracked, _) = connections(cache._backing.engine)
    await until(lambda: cache._near.get(KEY, 0.0) is None, 10)
    asked = monotonic()
    await settled(cache)
    assert asked <= tracked.as_of <= tracked.last_received
    assert cache._near.get(KEY, 0.0) is not None
    assert await cache.get("e1") == Episode("e1")


@pytest.mark.own_budget
async def test_a_bound_of_near_and_a_budget_are_the_engine_s_own(valkey: Server, back: Back) -> None:
    limits = Limits(command_deadline=7, ping_after=3, ping_timeout=2)
    backing = await back(valkey, limits=limits)
    assert backing.near._max_staleness == limits.max_staleness != Limits().max_staleness
    assert backing.engine.call_budget == 7


@pytest.mark.own_limits
async def test_an_idle_connection_is_asked_often_enough_to_be_trusted(valkey: Server, back: Back) -> None:
    cache = cache_of(await back(valkey), Loads(), near_for=30)
    await cache.get("e1")
    (tracked, _) = connections(cache._backing.engine)
    began, trusted = monotonic(), tracked.as_of
    async with asyncio.timeout(60):
        while tracked.as_of == trusted or tracked.as_of < began + Limits().max_staleness:
            await asyncio.sleep(0.02)  # answered pings, and nothing else


class Nowhere(asyncio.Transport):
    """A transport that goes nowhere."""

    closing = False
    closed = False
    """Whether uvloop has closed its handle: it then refuses writes, and does not say that it is closing."""

    def is_closing(self) -> bool:
        return self.closing

    def write(self, data: Any) -> None:
        assert not self.closing, "as uvloop says"
        if self.closed:
            raise RuntimeError("unable to perform operation; the handler is closed")

    def get_write_buffer_size(self) -> int:
        assert not self.closing, "as uvloop says"
        return 0

    def abort(self) -> None:
        pass


def unconnected(*, heartbeat: bool, limits: Limits) -> Connection:
    """A connection that nobody has told of a transport yet."""
    loop = asyncio.get_running_loop()
    return Connection(loop, on_push=lambda _: None, heartbeat=heartbeat, latency=Histogram(), limits=limits)


async def test_each_answer_counts_from_the_write_that_its_command_went_with() -> None:
    connection = unconnected(heartbeat=False, limits=MUTE)
    connection.connection_made(Nowhere())
    sent = []
    for commands in ((("PING",), ("PING",)), (("PING",),)):
        connection.issue(commands)
        await asyncio.sleep(0)
        sent.append(connection._sent_at[-1][0])
    connection.data_received(b">2\r\n+invalidate\r\n*1\r\n+k\r\n")
    assert connection.as_of == 0.0
    connection.data_received(b"+PONG\r\n")
    assert connection.as_of == sent[0]
    connection.data_received(b"+PONG\r\n")
    assert connection.as_of == sent[0]
    connection.data_received(b"+PONG\r\n")
    assert connection.as_of == sent[1]
    connection.abort("by the test")
    assert connection.as_of < 0


async def test_a_transport_that_is_closing_is_neither_written_to_nor_asked() -> None:
    connection = unconnected(heartbeat=True, limits=Limits())
    transport = Nowhere()
    connection.connection_made(transport)
    transport.closing = True
    queued = connection.issue((("PING",),))
    connection._flush()
    connection._tick()  # which would ping, since nothing has ever been answered
    connection.connection_lost(None)
    with pytest.raises(NotSent):
        await queued


async def test_a_write_to_a_closed_handle_is_lost_with_its_connection() -> None:
    connection = unconnected(heartbeat=True, limits=Limits())
    transport = Nowhere()
    connection.connection_made(transport)
    transport.closed = True
    connection._tick()  # which pings, since nothing has ever been answered
    asked = connection.issue((("PING",),))
    connection._flush()
    connection.connection_lost(ConnectionResetError())
    with pytest.raises(ConnectionLost):
        await asked
