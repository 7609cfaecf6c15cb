"""The engine on real servers."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from greenroom.counters import Counters
from greenroom.engine import Address, Channel, Limits, Script
from greenroom.engine.protocol.wire import Wire
from greenroom.engine.server.standalone import Standalone
from greenroom.engine.transport.connection import Connection
from greenroom.errors import CommandFailed, EngineRefused, EngineUnavailable, OutcomeUnknown, Overloaded
from tests.support.real_servers import Server, free_port

Connect = Callable[..., Awaitable[Standalone]]

COUNT = Script("return redis.call('INCR', KEYS[1]) + tonumber(ARGV[1])")


def connection_of(engine: Standalone, channel: Channel) -> Connection:
    connection = engine._node._links[channel].connection
    assert connection is not None
    return connection


async def test_a_thousand_concurrent_calls_get_their_own_replies(server: Server, connect: Connect) -> None:
    engine = await connect(server)
    await asyncio.gather(*(engine.execute(Channel.TRACKED, "k", "SET", f"k{n}", n) for n in range(1000)))
    replies = await asyncio.gather(*(engine.execute(Channel.PLAIN, "k", "GET", f"k{n}") for n in range(1000)))
    assert replies == [str(n).encode() for n in range(1000)]


async def test_cancelled_callers_do_not_shift_the_replies_of_others(server: Server, connect: Connect) -> None:
    engine = await connect(server)
    await asyncio.gather(*(engine.execute(Channel.PLAIN, "k", "SET", f"k{n}", n) for n in range(200)))
    tasks = [asyncio.create_task(engine.execute(Channel.PLAIN, "k", "GET", f"k{n}")) for n in range(200)]
    await asyncio.sleep(0)  # all are issued, none is answered
    for task in tasks[::2]:
        task.cancel()
    replies = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(reply, asyncio.CancelledError) for reply in replies[::2])
    assert replies[1::2] == [str(n).encode() for n in range(1, 200, 2)]


async def test_a_write_elsewhere_is_pushed_to_the_lane_that_read(server: Server, connect: Connect) -> None:
    invalidated: asyncio.Queue[bytes | None] = asyncio.Queue()
    engine = await connect(server, on_invalidate=invalidated.put_nowait)
    raw = server.raw()
    assert await engine.execute(Channel.TRACKED, "k", "GET", "k") is None
    raw("SET", "k", "1")
    assert await asyncio.wait_for(invalidated.get(), 5) == b"k"
    await engine.execute(Channel.PLAIN, "other", "GET", "other")
    raw("SET", "other", "1")
    raw("FLUSHALL")
    assert await asyncio.wait_for(invalidated.get(), 5) is None  # no push for what the plain channel read


async def test_a_hook_sees_its_replies_before_a_later_invalidation(server: Server, connect: Connect) -> None:
    order: list[Any] = []
    engine = await connect(server, on_invalidate=order.append)
    await asyncio.gather(
        engine.execute_all(
            Channel.TRACKED, "k", (("PTTL", "k"), ("GET", "k")), hook=lambda pair, _: order.append(list(pair))
        ),
        engine.execute(Channel.TRACKED, "k", "SET", "k", "new"),
    )
    await engine.execute(Channel.TRACKED, "k", "PING")
    assert order == [[-2, None], b"k"]


async def test_an_error_in_a_batch_is_raised_and_the_next_call_is_not_shifted(server: Server, connect: Connect) -> None:
    engine = await connect(server)
    with pytest.raises(CommandFailed, match="unknown command"):
        await engine.execute_all(Channel.PLAIN, "k", (("NOSUCH", "k"), ("GET", "k")))
    assert await engine.execute(Channel.PLAIN, "k", "PING") == b"PONG"


async def test_scripts_run_by_hash_and_survive_being_forgotten(server: Server, connect: Connect) -> None:
    engine = await connect(server, scripts=[COUNT])
    assert server.raw()("SCRIPT", "EXISTS", COUNT.sha) == [1]
    assert await engine.run(Channel.TRACKED, COUNT, ["n"], [10]) == 11
    server.raw()("SCRIPT", "FLUSH")
    assert await engine.run(Channel.TRACKED, COUNT, ["n"], [10]) == 12


async def test_a_lost_connection_is_made_anew_and_reads_are_repeated(server: Server, connect: Connect) -> None:
    lost: list[bool] = []
    engine = await connect(server, on_lost=lambda _: lost.append(True))
    raw = server.raw()
    raw("SET", "k", "v")
    raw("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    assert await engine.execute(Channel.TRACKED, "k", "GET", "k") == b"v"
    assert await engine.execute(Channel.PLAIN, "k", "GET", "k") == b"v"
    assert lost == [True]


async def test_a_write_that_must_not_be_repeated_has_an_unknown_outcome(server: Server, connect: Connect) -> None:
    engine = await connect(server)
    with server.frozen():
        call = asyncio.create_task(engine.execute(Channel.PLAIN, "n", "INCR", "n", retry=False))
        await asyncio.sleep(0)
        await asyncio.sleep(0)  # written
        connection_of(engine, Channel.PLAIN).abort("cut by the test")
        with pytest.raises(OutcomeUnknown):
            await call


async def test_a_write_never_sent_is_repeated_even_so(server: Server, connect: Connect) -> None:
    engine = await connect(server)
    call = asyncio.create_task(engine.execute(Channel.PLAIN, "n", "INCR", "n", retry=False))
    asyncio.get_running_loop().call_soon(connection_of(engine, Channel.PLAIN).abort, "cut before the write")
    # The task issues in its first step; the abort follows in the same tick, before the flush.
    assert await call == 1
    assert server.raw()("GET", "n") == b"1"


async def test_a_frozen_server_fails_calls_within_their_deadline_and_heals(server: Server, connect: Connect) -> None:
    engine = await connect(server, limits=Limits(command_deadline=0.2, handshake_deadline=0.2, probe_max=0.3))
    loop = asyncio.get_running_loop()
    with server.frozen():
        results = await asyncio.gather(
            *(engine.execute(Channel.TRACKED, "k", "GET", "k") for _ in range(50)), return_exceptions=True
        )
        assert all(isinstance(result, EngineUnavailable) for result in results)
    async with asyncio.timeout(10):
        while engine.unavailable is not None:
            await asyncio.sleep(0)
    assert await engine.execute(Channel.TRACKED, "k", "GET", "k", deadline=loop.time() + 5) is None


async def test_a_silent_tracked_connection_is_found_out_without_any_call(
    server: Server, connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    lost = asyncio.Event()
    await connect(server, on_lost=lambda _: lost.set(), limits=Limits(ping_after=0.05, ping_timeout=0.1))
    with server.frozen():
        async with asyncio.timeout(10):
            await lost.wait()
        await asyncio.sleep(0)
    assert "silent" in caplog.text


async def test_a_connection_has_one_timer_however_often_it_is_pinged(
    server: Server, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = await connect(server, limits=Limits(ping_after=0.001, tick=0.001))
    connection, loop, pings = connection_of(engine, Channel.TRACKED), asyncio.get_running_loop(), 0
    issue, later, timers = Wire.issue, loop.call_later, list[asyncio.TimerHandle]()

    def issued(wire: Wire, *arguments: Any) -> Any:
        nonlocal pings
        pings += wire is connection._wire
        return issue(wire, *arguments)

    def begun(delay: float, callback: Callable[..., object], *arguments: Any) -> asyncio.TimerHandle:
        handle = later(delay, callback, *arguments)
        if getattr(callback, "__self__", None) is connection:
            timers.append(handle)
        return handle

    monkeypatch.setattr(Wire, "issue", issued)
    monkeypatch.setattr(loop, "call_later", begun)
    async with asyncio.timeout(10):
        while pings < 10:
            await asyncio.sleep(0)
    waiting = [one for one in timers if not one.cancelled() and one in loop._scheduled]  # type: ignore[attr-defined]
    assert len(waiting) <= 1


async def test_after_repeated_failures_calls_fail_at_once(connect: Connect, tmp_path: Any) -> None:
    nobody = Address.parse(f"valkey://127.0.0.1:{free_port()}")
    engine = Standalone(nobody, limits=Limits(breaker_failures=1))
    await engine.start()
    try:
        assert engine.unavailable is not None
        link = engine._node._links[Channel.TRACKED]
        assert link.circuit_open
        call = asyncio.create_task(engine.execute(Channel.TRACKED, "k", "GET", "k"))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert call.done()
        assert isinstance(call.exception(), EngineUnavailable)
    finally:
        await engine.close()


async def test_too_many_outstanding_commands_are_overload_not_absence(server: Server, connect: Connect) -> None:
    engine = await connect(server, limits=Limits(outstanding=10))
    results = await asyncio.gather(
        *(engine.execute(Channel.PLAIN, "k", "GET", "k") for _ in range(12)), return_exceptions=True
    )
    assert [type(result) for result in results] == [type(None)] * 10 + [Overloaded] * 2


async def test_a_wrong_password_is_refused_for_good(server: Server) -> None:
    server.raw()("CONFIG", "SET", "requirepass", "right")
    wrong = Standalone(Address.parse(server.address.replace("://", "://default:wrong@")))
    right = Standalone(Address.parse(server.address.replace("://", "://:right@")))
    await asyncio.gather(wrong.start(), right.start())
    try:
        with pytest.raises(EngineRefused):
            await wrong.execute(Channel.PLAIN, "k", "GET", "k")
        assert await right.execute(Channel.PLAIN, "k", "GET", "k") is None
    finally:
        await asyncio.gather(wrong.close(), right.close())


async def test_garbage_ends_the_connection() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(10)
        writer.write(b"220 mail.example ESMTP\r\n")
        await writer.drain()
        await reader.read()
        writer.close()

    listener = await asyncio.start_server(talk, "127.0.0.1", 0, family=socket.AF_INET)
    port = listener.sockets[0].getsockname()[1]
    engine = Standalone(Address.parse(f"valkey://127.0.0.1:{port}"))
    await engine.start()
    try:
        assert "invalid reply" in str(engine.unavailable)
    finally:
        await engine.close()
        listener.close()


async def test_latency_and_pushes_are_counted(server: Server, connect: Connect) -> None:
    counters = Counters()
    engine = await connect(server, counters=counters)
    await engine.execute(Channel.TRACKED, "k", "GET", "k")
    await engine.execute(Channel.TRACKED, "k", "SET", "k", "v")
    await engine.execute(Channel.TRACKED, "k", "PING")
    node = server.address
    assert sum(counters.commands[node].counts) >= 3
    assert counters.engine_events[node, "push"] == 1
    assert counters.engine_events[node, "tracked_connected"] == 1


async def test_closing_fails_what_waits(server: Server) -> None:
    engine = Standalone(Address.parse(server.address))
    await engine.start()
    with server.frozen():
        call = asyncio.create_task(engine.execute(Channel.PLAIN, "k", "GET", "k"))
        await asyncio.sleep(0)
        await engine.close()
        with pytest.raises(EngineUnavailable):
            await call
    with pytest.raises(EngineUnavailable, match="closed"):
        await engine.execute(Channel.PLAIN, "k", "GET", "k")
