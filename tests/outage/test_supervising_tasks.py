"""A task that keeps a connection or a topology alive survives any error, logs it, and goes on."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from greenroom.clock import SYSTEM
from greenroom.counters import Counters
from greenroom.engine import Address, Channel, Limits
from greenroom.engine.cluster.discovery import Discovery
from greenroom.engine.server.standalone import Standalone
from greenroom.errors import EngineError
from greenroom_platform.domain import outbox_sender
from greenroom_platform.domain.outbox_sender import OutboxSender
from tests.support.gateways import eventually
from tests.support.listeners import listening
from tests.support.real_servers import Server

ERRORS = [TypeError, ValueError, KeyError, OverflowError, UnicodeError, MemoryError, RuntimeError]


class Once:
    """Fails the first times that it is called."""

    def __init__(self, error: type[Exception], times: int = 2) -> None:
        self.calls = 0
        self._error = error
        self._times = times

    def __call__(self, *_: Any, **__: Any) -> None:
        self.calls += 1
        if self.calls <= self._times:
            raise self._error("the test's own")

    async def later(self, *_: Any, **__: Any) -> None:
        self()


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("where", ["before_connect", "before_use", "before_serving"])
async def test_a_connection_is_made_however_making_it_fails(
    server: Server, error: type[Exception], where: str, caplog: pytest.LogCaptureFixture
) -> None:
    once = Once(error)
    if where == "before_connect":
        engine = Standalone(Address.parse(server.address), before_connect=once.later)
    else:
        engine = listening(Standalone(Address.parse(server.address)), **{where: once.later})  # type: ignore[arg-type]
    await engine.start()
    try:
        await eventually(lambda: engine.unavailable is None)
        assert once.calls > 2
        assert await engine.execute(Channel.TRACKED, "k", "GET", "k") is None
        assert "the test's own" in caplog.text
    finally:
        await engine.close()


@pytest.mark.parametrize("error", ERRORS)
async def test_a_lost_connection_is_made_anew_whatever_its_listeners_raise(
    server: Server, error: type[Exception], caplog: pytest.LogCaptureFixture
) -> None:
    once = Once(error, times=1)
    engine = listening(Standalone(Address.parse(server.address)), on_lost=once)
    await engine.start()
    try:
        with server.frozen():
            waiting = asyncio.create_task(engine.execute(Channel.TRACKED, "k", "GET", "k"))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            engine.reset(Channel.TRACKED, "k", "the test")
        with_reply = await asyncio.gather(waiting, return_exceptions=True)
        assert with_reply[0] is None or isinstance(with_reply[0], EngineError)
        await eventually(lambda: engine.unavailable is None)
        assert once.calls == 1
        assert "the test's own" in caplog.text
    finally:
        await engine.close()


@pytest.mark.parametrize("error", ERRORS)
async def test_a_push_that_cannot_be_handled_costs_the_connection_only(
    server: Server, error: type[Exception], caplog: pytest.LogCaptureFixture
) -> None:
    once, of_the_loop = Once(error, times=1), list[dict[str, Any]]()
    asyncio.get_running_loop().set_exception_handler(lambda _, context: of_the_loop.append(context))
    engine = listening(Standalone(Address.parse(server.address)), on_invalidate=once)
    await engine.start()
    try:
        await engine.execute(Channel.TRACKED, "k", "GET", "k")
        server.raw()("SET", "k", "v")
        await eventually(lambda: once.calls == 1)
        await eventually(lambda: engine.unavailable is None)
        assert await engine.execute(Channel.TRACKED, "k", "GET", "k") == b"v"
        assert "a reply could not be handled" in caplog.text
        assert of_the_loop == []
    finally:
        await engine.close()


@pytest.mark.parametrize("error", ERRORS)
async def test_a_cluster_is_asked_again_whatever_a_view_of_it_brings(
    error: type[Exception], caplog: pytest.LogCaptureFixture
) -> None:
    once, asked = Once(error), 0

    async def ask() -> None:
        nonlocal asked
        asked += 1
        once()

    discovery = Discovery(
        Address.parse("valkey+cluster://127.0.0.1:1"),
        nodes=lambda: (),
        adopt=lambda _: None,
        whole=lambda: True,
        clock=SYSTEM,
        counters=Counters(),
        limits=Limits(backoff_first=0.0, topology_interval=0.0, topology_pause=0.0),
    )
    discovery._ask = ask  # type: ignore[method-assign]
    discovery.start()
    await eventually(lambda: asked > 2)
    assert discovery.unavailable is None
    assert "the test's own" in caplog.text
    await discovery.close()


async def test_the_outbox_is_sent_again_whatever_sending_it_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    once = Once(KeyError)
    sender = OutboxSender.__new__(OutboxSender)

    async def send(**_: object) -> int:
        once()
        return 0

    monkeypatch.setattr(outbox_sender, "RESEND_AFTER", 0.0)
    monkeypatch.setattr(sender, "send_pending", send)
    sender._look_took = 0.0
    first = asyncio.create_task(asyncio.sleep(0, 0))
    task = asyncio.create_task(sender._keep_sending(first))
    await eventually(lambda: once.calls > 3)
    assert not task.done()
    task.cancel()
    await asyncio.wait([task])
