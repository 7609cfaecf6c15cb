"""Ends are sent again to a server that has come back without them, before anyone reads on the new connection."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from greenroom.engine import Channel, Handover, Limits
from greenroom.engine.scripts import Script
from greenroom.errors import EngineError, EngineUnavailable
from greenroom.sessions import Revocations, SessionGone
from greenroom.testing.clock import ManualClock
from tests.support.patience import be_patient
from tests.support.proxy import Proxy, proxy_of
from tests.support.real_servers import Server
from tests.support.session_stores import MINIMAL, Open, Store, at_once, companion, key, names, patch

pytestmark = pytest.mark.on_cluster

SIGNED_IN = {**MINIMAL, "user_id": "u1"}


class Past:
    """A server that can be put back to what it was."""

    def __init__(self, server: Server, directory: Path) -> None:
        self._server = server
        self._files = directory / "appendonlydir"
        self._copy = directory / "copy"

    def keep(self) -> None:
        """Remember what its append-only file says now."""
        shutil.copytree(self._files, self._copy)

    def restore(self) -> None:
        """Kill it, and start it with what was remembered."""
        self._server.kill()
        shutil.rmtree(self._files)
        shutil.copytree(self._copy, self._files)
        self._server.start()


@pytest.fixture
def past(lasting: Server, tmp_path: Path) -> Past:
    return Past(lasting, tmp_path)


async def kept(
    store: Open, server: Server | Proxy, clock: ManualClock | None = None, **options: Any
) -> tuple[Store, Revocations]:
    """Sessions whose ends are kept, as a room has them."""
    ends = Revocations(clock or ManualClock())
    return await store(server, ends=ends, **options), ends


async def asked(sessions: Store, call: Callable[[], Awaitable[object]]) -> object:
    """What a call gives once the server can be asked."""
    async with asyncio.timeout(20):
        while True:
            try:
                return await call()
            except EngineUnavailable:
                await asyncio.sleep(0.01)


async def end(sessions: Store, session: str) -> None:
    assert await sessions.end(session)


async def end_all(sessions: Store, _: str) -> None:
    assert await sessions.end_all("u1") == 1


async def rotate(sessions: Store, session: str) -> None:
    await sessions.rotate(session, {})


@pytest.mark.parametrize("channel", list(Channel))
@pytest.mark.parametrize("ended", [end, end_all, rotate])
async def test_a_session_that_a_server_has_again_stays_dead(
    lasting: Server, past: Past, store: Open, ended: Callable[[Store, str], Awaitable[None]], channel: Channel
) -> None:
    sessions, _ = await kept(store, lasting)
    live, token = await sessions.start(SIGNED_IN)
    other, others = await sessions.start({**MINIMAL, "user_id": "u2"})
    past.keep()
    await ended(sessions, live.session_id)
    past.restore()
    assert lasting.raw()("EXISTS", key(live)), "it is back"
    assert await asked(sessions, lambda: sessions.read(token, channel=channel)) is None
    assert names(lasting.raw()) & {key(live), companion("life", live), companion("grace", live)} == set()
    with pytest.raises(SessionGone):
        await asked(sessions, lambda: sessions.change(live.session_id, patch(a=1)))
    assert await asked(sessions, lambda: sessions.read(others)) is not None
    assert lasting.raw()("EXISTS", key(other))


class Forgetful(Revocations):
    """Sends nothing again."""

    async def before_use(self, handover: Handover) -> None:
        pass

    def keys_gained(self, handover: Handover) -> None:
        pass


async def test_without_it_the_session_would_be_back(lasting: Server, past: Past, store: Open) -> None:
    """What the others prove is of this library's doing."""
    sessions = await store(lasting, ends=Forgetful())
    live, token = await sessions.start(SIGNED_IN)
    past.keep()
    assert await sessions.end(live.session_id)
    past.restore()
    assert await asked(sessions, lambda: sessions.read(token)) is not None


async def test_an_id_marked_by_the_end_of_all_is_marked_again(lasting: Server, past: Past, store: Open) -> None:
    """A log-in that was listed, refused by nobody yet, on a server that has forgotten the mark."""
    sessions, _ = await kept(store, lasting)
    roll = "greenroom:sessions:{user:u1}"
    lasting.raw()("ZADD", roll, int(lasting.raw()("TIME")[0]) * 1000, "listed")
    past.keep()
    assert await sessions.end_all("u1") == 0
    past.restore()
    await asked(sessions, sessions.active)
    assert lasting.raw()("EXISTS", companion("ended", "listed"))


async def test_thousands_of_ends_are_sent_again(
    lasting: Server, past: Past, store: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    be_patient(monkeypatch)
    sessions, ends = await kept(store, lasting, engine_limits=Limits(command_deadline=60))
    for _ in range(50):
        await asyncio.gather(*(sessions.start(SIGNED_IN) for _ in range(20)))
    past.keep()
    assert await sessions.end_all("u1") == 1000
    assert len(ends) == 1000
    past.restore()
    await asked(sessions, sessions.active)
    assert not [name for name in names(lasting.raw()) if name.startswith(("session:", "greenroom:life"))]


async def test_an_end_that_no_server_has_acknowledged_is_sent_when_one_is_back(
    lasting: Server, past: Past, store: Open
) -> None:
    clock = ManualClock()
    sessions, _ = await kept(store, lasting, clock)
    live, token = await sessions.start(SIGNED_IN)
    past.keep()
    lasting.kill()
    with pytest.raises(EngineError):
        async with asyncio.timeout(20):
            await sessions.store.end(live.session_id, "by", tombstone=False)
    clock.advance(60)
    past.restore()
    assert await asked(sessions, lambda: sessions.read(token)) is None


async def test_an_end_is_forgotten_30_seconds_after_it_was_acknowledged(lasting: Server, store: Open) -> None:
    clock = ManualClock()
    sessions, ends = await kept(store, lasting, clock)
    for _ in range(5):
        live, _ = await sessions.start(SIGNED_IN)
        await sessions.end(live.session_id)
    clock.advance(29)
    live, _ = await sessions.start(SIGNED_IN)
    await sessions.end(live.session_id)
    assert len(ends) == 6
    clock.advance(2)
    live, _ = await sessions.start(SIGNED_IN)
    await sessions.end(live.session_id)
    assert len(ends) == 2
    clock.advance(31)
    ends._log._prune(clock.monotonic())
    assert len(ends) == 0


async def test_a_lost_connection_takes_no_copy_of_a_rotation_away(server: Server, store: Open) -> None:
    async with proxy_of(server) as proxy:
        sessions, _ = await kept(store, proxy)
        old, token = await sessions.start(SIGNED_IN)
        live, new = await sessions.rotate(old.session_id, {})
        await proxy.all_cut()
        copy = await asked(sessions, lambda: sessions.read(token))
        assert copy is not None, "requests under way still read it"
        assert await asked(sessions, lambda: sessions.read(new)) is not None
        await sessions.end_all("u1")
        await proxy.all_cut()
        assert await asked(sessions, lambda: sessions.read(token)) is None
        assert live.session_id != old.session_id


async def test_an_end_repeated_beside_its_resend_still_reports_the_end(
    server: Server, store: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    be_patient(monkeypatch)
    async with proxy_of(server) as proxy:
        sessions, _ = await kept(store, proxy)
        live, _ = await sessions.start(SIGNED_IN)
        proxy.cut_reply_to("EVALSHA", companion("grace", live))
        assert await sessions.end(live.session_id), "carried out, lost, carried again, repeated"


async def test_a_connection_that_cannot_carry_them_serves_nobody(lasting: Server, past: Past, store: Open) -> None:
    sessions, _ = await kept(store, lasting)
    live, token = await sessions.start(SIGNED_IN)
    past.keep()
    await sessions.end(live.session_id)
    past.restore()
    # It will take no writes: what a connection must carry first is refused on every attempt.
    raw = lasting.raw()
    raw("CONFIG", "SET", "min-replicas-to-write", 9)
    sessions.engine.reset(Channel.PLAIN, "any", "the test")
    sessions.engine.reset(Channel.TRACKED, "any", "the test")
    results = await at_once(*(sessions.read(token, channel=channel) for channel in Channel))
    assert all(result is None or isinstance(result, EngineError) for result in results), results
    raw("CONFIG", "SET", "min-replicas-to-write", 0)
    assert await asked(sessions, lambda: sessions.read(token)) is None


PUSH = Script("redis.call('LPUSH', KEYS[1], 'ended') return 1")
"""Stands for an end whose script its data can refuse; ours none can."""


async def test_an_end_that_its_data_refuse_is_put_off_and_all_are_served(
    server: Server, store: Open, caplog: pytest.LogCaptureFixture
) -> None:
    sessions, ends = await kept(store, server)
    live, _ = await sessions.start(SIGNED_IN)
    _, token = await sessions.start({**MINIMAL, "user_id": "u2"})
    raw, name = server.raw(), companion("other", live)
    raw("SET", name, "of another type")
    ends.keep(PUSH, (name,), (), 60)
    for _ in range(3):
        for channel in Channel:
            sessions.engine.reset(channel, name, "the test")
            assert await asked(sessions, partial(sessions.read, token, channel=channel)) is not None
            assert await asked(sessions, lambda: sessions.store.look(live.session_id)) is not None
    assert caplog.text.count("is postponed: WRONGTYPE") == 1
    raw("DEL", name)
    sessions.engine.reset(Channel.PLAIN, name, "the test")
    await asked(sessions, lambda: sessions.store.look(live.session_id))
    assert raw("TYPE", name) == b"list", "it was carried out as soon as it could be"


async def test_an_end_that_its_server_refuses_for_want_of_memory_is_not_put_off(server: Server, store: Open) -> None:
    sessions, ends = await kept(store, server)
    live, token = await sessions.start(SIGNED_IN)
    raw, name = server.raw(), companion("other", live)
    ends.keep(PUSH, (name,), (), 60)
    raw("CONFIG", "SET", "maxmemory", 1)
    for channel in Channel:
        sessions.engine.reset(channel, name, "the test")
    results = await at_once(*(sessions.read(token, channel=channel) for channel in Channel))
    assert all(isinstance(result, EngineError) for result in results), results
    raw("CONFIG", "SET", "maxmemory", 0)
    assert await asked(sessions, lambda: sessions.read(token)) is not None
    assert raw("TYPE", name) == b"list"


@pytest.mark.parametrize("kind", ["HSET", "SADD"])
async def test_a_foreign_tombstone_keeps_no_session_alive_and_no_connection_away(
    server: Server, store: Open, kind: str
) -> None:
    sessions, _ = await kept(store, server)
    live, token = await sessions.start(SIGNED_IN)
    other, others = await sessions.start({**MINIMAL, "user_id": "u2"})
    server.raw()(kind, companion("ended", live), "a", *(["b"] if kind == "HSET" else []))
    assert await sessions.end(live.session_id)
    for channel in Channel:
        sessions.engine.reset(channel, key(live), "the test")
        sessions.engine.reset(channel, key(other), "the test")
        assert await asked(sessions, partial(sessions.read, others, channel=channel)) is not None
        assert await asked(sessions, partial(sessions.read, token, channel=channel)) is None
