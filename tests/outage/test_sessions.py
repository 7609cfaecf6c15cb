"""A server that is down, frozen or too busy is never "not signed in": an error of its kind, in time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from time import monotonic

import pytest

from greenroom.errors import CommandFailed, EngineError, EngineUnavailable, OutcomeUnknown, Overloaded
from greenroom.sessions import Presence
from tests.support.patience import PATIENT, be_patient
from tests.support.proxy import proxy_of
from tests.support.real_servers import Server
from tests.support.session_stores import MINIMAL, Open, Store, at_once, companion, key, patch, used

pytestmark = pytest.mark.on_cluster

BOUND = 20.0
"""Seconds in which a call of half a second must have failed, on a busy machine."""

CALLS: dict[str, Callable[[Store, str, str], Awaitable[object]]] = {
    "start": lambda sessions, session, token: sessions.start({**MINIMAL, "user_id": "u1"}),
    "read": lambda sessions, session, token: sessions.read(token),
    "change": lambda sessions, session, token: sessions.change(session, patch(a=1)),
    "settle": lambda sessions, session, token: sessions.settle(session),
    "rotate": lambda sessions, session, token: sessions.rotate(session, {}),
    "end": lambda sessions, session, token: sessions.end(session),
    "end all": lambda sessions, session, token: sessions.end_all("u1"),
    "of user": lambda sessions, session, token: sessions.of_user("u1"),
    "active": lambda sessions, session, token: sessions.active(),
    "open": lambda sessions, session, token: Presence(sessions).open("p1", session),
    "listeners": lambda sessions, session, token: Presence(sessions).listeners(),
}


@pytest.mark.once_on_cluster  # no other test shall find it killed
@pytest.mark.parametrize("how", ["frozen", "killed"])
async def test_every_call_fails_in_time_and_as_what_it_is(server: Server, store: Open, how: str) -> None:
    sessions = await store(server)
    live, token = await sessions.start({**MINIMAL, "user_id": "u1"})
    if how == "killed":
        server.kill()
    for _ in range(2):  # the connections are there; then they are not

        async def timed(call: Callable[[Store, str, str], Awaitable[object]]) -> object:
            began = monotonic()
            try:
                return await call(sessions, live.session_id, token)
            finally:
                assert monotonic() - began < BOUND

        calls = (timed(call) for call in CALLS.values())
        if how == "frozen":
            with server.frozen():
                results = await at_once(*calls)
        else:
            results = await at_once(*calls)
        for name, result in zip(CALLS, results, strict=True):
            assert isinstance(result, EngineUnavailable | OutcomeUnknown), (name, result)


@pytest.mark.parametrize("name", ["start", "change", "settle", "rotate", "end"])
async def test_the_commands_of_a_call_have_one_deadline_together(
    server: Server, store: Open, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection of this engine would wait for a minute: it is the call's own deadline that ends it."""
    sessions = await store(server, engine_limits=PATIENT)
    monkeypatch.setattr(type(sessions.engine), "call_budget", 0.5)
    live, token = await sessions.start({**MINIMAL, "user_id": "u1"})
    with server.frozen():
        async with asyncio.timeout(20):
            with pytest.raises(EngineError):
                await CALLS[name](sessions, live.session_id, token)


async def test_a_full_queue_is_overload_and_no_anonymous_user(
    server: Server, store: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    be_patient(monkeypatch)
    sessions = await store(server, engine_limits=replace(PATIENT, outstanding=20))
    live, token = await sessions.start(MINIMAL)
    results = await at_once(*(sessions.read(token) for _ in range(200)))
    kinds = [type(result) for result in results]
    assert kinds.count(Overloaded) == 180
    assert kinds.count(type(live)) == 20
    assert None not in results
    results = await at_once(*(sessions.change(live.session_id, patch(a=1)) for _ in range(200)))
    assert {type(result) for result in results} <= {type(live), Overloaded}
    assert await sessions.read(token) is not None


async def test_a_store_without_memory_says_so_and_reads_on(server: Server, store: Open) -> None:
    sessions, raw = await store(server), server.raw()
    live, token = await sessions.start(MINIMAL)
    raw("CONFIG", "SET", "maxmemory", 1)
    for name in ("start", "change", "rotate"):
        with pytest.raises(CommandFailed):
            await CALLS[name](sessions, live.session_id, token)
    found = await used(sessions, token)
    assert found is not None
    assert found.body == live.body
    assert found.writable, "nothing is half done"
    assert await sessions.active() == 1
    assert await sessions.end(live.session_id), "an end needs no memory"
    assert not raw("EXISTS", key(live))
    raw("CONFIG", "SET", "maxmemory", 0)


async def test_a_rotation_refused_for_memory_leaves_the_session_as_it_was(server: Server, store: Open) -> None:
    raw = server.raw()
    async with proxy_of(server) as proxy:
        sessions = await store(proxy)
        live, token = await sessions.start(MINIMAL)
        taking = proxy.hold("EVALSHA", companion("grace", live))
        rotating = asyncio.ensure_future(sessions.rotate(live.session_id, {"user_id": "u1"}))
        await taking.reached.wait()
        raw("CONFIG", "SET", "maxmemory", 1)
        taking.release()
        with pytest.raises(CommandFailed):
            await rotating
        found = await sessions.read(token)
        assert found is not None
        assert found.writable
        assert await sessions.active() == 1
        assert not raw("EXISTS", "greenroom:sessions:{user:u1}")


async def test_a_session_is_there_again_with_its_server(server: Server, store: Open) -> None:
    sessions = await store(server)
    _, token = await sessions.start(MINIMAL)
    with server.frozen(), pytest.raises(EngineUnavailable):
        await sessions.read(token)
    async with asyncio.timeout(20):
        while True:
            try:
                assert await sessions.read(token) is not None, "not signed in"
                break
            except EngineUnavailable:
                await asyncio.sleep(0.01)


@pytest.mark.one_server
async def test_a_session_lost_with_a_server_that_keeps_nothing_is_over(server: Server, store: Open) -> None:
    sessions = await store(server)
    live, token = await sessions.start(MINIMAL)
    server.kill()
    server.start()
    async with asyncio.timeout(20):
        while True:
            try:
                assert await sessions.read(token) is None
                break
            except EngineUnavailable:
                await asyncio.sleep(0.01)
    assert not await sessions.end(live.session_id)


async def test_an_end_is_carried_out_even_when_unlisting_fails(server: Server, store: Open) -> None:
    sessions, raw = await store(server), server.raw()
    live, token = await sessions.start({**MINIMAL, "user_id": "u1"})
    nodes = [one.raw() for one in getattr(server, "members", [server])]
    for node in nodes:
        node("ACL", "SETUSER", "default", "-zrem")
    try:
        assert await sessions.end(live.session_id)
        assert await sessions.read(token) is None
        assert raw("ZCARD", "greenroom:active:{sessions}") == 1
    finally:
        for node in nodes:
            node("ACL", "SETUSER", "default", "+@all")
            node.close()
