"""Changes of a session: none lost, none done twice, none to a session that is over."""

from __future__ import annotations

import asyncio
import sys
from types import FrameType
from typing import Any

import pytest

from greenroom.engine import Engine
from greenroom.errors import BrokenValue, InvalidInput, OutcomeUnknown
from greenroom.sessions import RequestSession, SessionGone
from greenroom.sessions.policy import Carrier, Kind, Origin, Signals, Token, Transport
from tests.support.patience import PATIENT
from tests.support.proxy import proxy_of
from tests.support.real_servers import Server
from tests.support.repository import ROOT
from tests.support.session_stores import (
    MINIMAL,
    MINUTE,
    Open,
    add_one,
    age,
    at_once,
    close_sessions,
    companion,
    decoded,
    key,
    names,
    open_sessions,
    patch,
)

pytestmark = pytest.mark.on_cluster

CHANGES = 500
"""Of each of two processes."""


async def test_two_changes_of_different_members_at_once_are_both_there(server: Server, store: Open) -> None:
    one, other = await store(server), await store(server)
    live, token = await one.start(MINIMAL)
    await asyncio.gather(one.change(live.session_id, patch(a=1)), other.change(live.session_id, patch(b=2)))
    found = await one.read(token)
    assert found is not None
    assert (decoded(found.body)["a"], decoded(found.body)["b"]) == (1, 2)


async def test_a_change_made_between_anothers_read_and_write_is_not_lost(server: Server, store: Open) -> None:
    quick = await store(server)
    live, token = await quick.start(MINIMAL)
    async with proxy_of(server) as proxy:
        slow = await store(proxy, engine_limits=PATIENT)
        seen: list[bytes] = []

        def slowly(body: bytes) -> bytes:
            seen.append(body)
            return patch(slow=len(seen))(body)

        held = proxy.hold("EVALSHA", live.body.decode())
        changing = asyncio.ensure_future(slow.change(live.session_id, slowly))
        await held.reached.wait()
        await quick.change(live.session_id, patch(quick=True))
        held.release()
        await changing
    found = await quick.read(token)
    assert found is not None
    assert (decoded(found.body)["slow"], decoded(found.body)["quick"]) == (2, True)
    assert [decoded(body).get("quick") for body in seen] == [None, True]


async def test_of_a_thousand_increments_of_many_tasks_none_is_lost(server: Server, store: Open) -> None:
    sessions = await store(server, engine_limits=PATIENT)
    live, token = await sessions.start(MINIMAL)
    results = await asyncio.gather(*(sessions.change(live.session_id, add_one) for _ in range(1000)))
    found = await sessions.read(token)
    assert found is not None
    assert decoded(found.body)["count"] == 1000
    assert sorted(decoded(result.body)["count"] for result in results) == list(range(1, 1001)), "each saw its own"


async def test_of_a_thousand_increments_of_two_processes_none_is_lost(server: Server, store: Open) -> None:
    sessions = await store(server)
    live, token = await sessions.start(MINIMAL)
    command = [sys.executable, "-m", "tests.integration.sessions.test_sessions_change", server.address, live.session_id]
    both = [
        await asyncio.create_subprocess_exec(
            *command, cwd=ROOT, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
        )
        for _ in range(2)
    ]
    for process in both:
        assert process.stdout is not None
        assert await process.stdout.readline() == b"ready\n"
    assert [out for out, _ in await asyncio.gather(*(process.communicate(b"go\n") for process in both))] == [b"", b""]
    assert [process.returncode for process in both] == [0, 0]
    found = await sessions.read(token)
    assert found is not None
    assert decoded(found.body)["count"] == 2 * CHANGES


async def _increment(address: str, session: str) -> None:
    """One of the two processes."""

    sessions = await open_sessions(address)
    print("ready", flush=True)  # noqa: T201
    sys.stdin.readline()
    await asyncio.gather(*(sessions.change(session, add_one) for _ in range(CHANGES)))
    await close_sessions(sessions)


async def test_a_write_whose_reply_is_lost_is_done_once(server: Server, store: Open) -> None:
    async with proxy_of(server) as proxy:
        sessions = await store(proxy)
        live, token = await sessions.start(MINIMAL)
        for number in (1, 2):  # a third cut in a row would open the breaker
            found = await sessions.read(token)
            assert found is not None
            proxy.cut_reply_to("EVALSHA", found.body.decode())
            changed = await sessions.change(live.session_id, add_one)
            assert decoded(changed.body)["count"] == number
            stored = server.raw()("GET", key(live))
            assert stored == changed.body
            assert decoded(stored)["count"] == number


async def test_an_unanswered_change_overwritten_by_others_is_not_repeated(server: Server, store: Open) -> None:
    other = await store(server)
    live, _ = await other.start(MINIMAL)
    async with proxy_of(server) as proxy:
        sessions = await store(proxy, engine_limits=PATIENT)
        proxy.cut_reply_to("EVALSHA", live.body.decode())
        again = proxy.hold("EVALSHA", live.body.decode(), skip=1)
        changing = asyncio.ensure_future(sessions.change(live.session_id, add_one))
        await again.reached.wait()
        await other.change(live.session_id, add_one)
        again.release()
        with pytest.raises(OutcomeUnknown):
            await changing
    assert decoded(server.raw()("GET", key(live)))["count"] == 2


@pytest.mark.parametrize("end", ["log-out", "idle", "end-all", "rotation", "absolute"])
async def test_a_slow_change_saved_after_the_end_brings_nothing_back(server: Server, store: Open, end: str) -> None:
    quick, raw = await store(server), server.raw()
    live, token = await quick.start({**MINIMAL, "user_id": "u1"})
    async with proxy_of(server) as proxy:
        slow = await store(proxy, engine_limits=PATIENT)
        held = proxy.hold("EVALSHA", live.body.decode())
        changing = asyncio.ensure_future(slow.change(live.session_id, patch(secret="x")))
        await held.reached.wait()
        if end == "log-out":
            assert await quick.end(live.session_id)
        elif end == "end-all":
            assert await quick.end_all("u1") == 1
        elif end == "rotation":
            await quick.rotate(live.session_id, {})
        else:
            age(raw, 31 * MINUTE if end == "idle" else 12 * 60 * MINUTE)
        held.release()
        with pytest.raises(SessionGone):
            await changing
    copied = await quick.read(token)
    assert (copied is not None) == (end == "rotation")
    if end == "rotation":
        assert copied is not None
        assert not copied.writable
        assert b"secret" not in copied.body
        assert await quick.end_all("u1") == 1
    age(raw, MINUTE)  # what is left of an end is its mark
    lists = {"greenroom:sessions:{user:u1}"} if end in ("idle", "absolute") else set()
    assert names(raw) == (lists if end == "idle" else set())
    assert await quick.active() == 0


async def test_a_touch_begun_before_the_end_brings_nothing_back(server: Server, store: Open) -> None:
    quick, raw = await store(server), server.raw()
    _, token = await quick.start({**MINIMAL, "user_id": "u1"})
    age(raw, MINUTE)
    async with proxy_of(server) as proxy:
        slow = await store(proxy, engine_limits=PATIENT)
        live = await slow.read(token)
        assert live is not None
        held = proxy.hold("EVALSHA", live.body.decode())
        slow.touch(live)
        await held.reached.wait()
        assert await quick.end(live.session_id)
        held.release()
        await slow.close()
    age(raw, MINUTE)
    assert names(raw) == set()


async def test_a_change_can_neither_take_nor_give_a_user(server: Server, store: Open) -> None:
    sessions = await store(server)
    nobodys, _ = await sessions.start(MINIMAL)
    somebodys, _ = await sessions.start({**MINIMAL, "user_id": "u1"})
    for live, user in [(nobodys, "u1"), (somebodys, "u2"), (somebodys, None)]:
        with pytest.raises(InvalidInput, match="rotate it"):
            await sessions.change(live.session_id, patch(user_id=user))
        assert server.raw()("GET", key(live)) == live.body


@pytest.mark.once_on_cluster
@pytest.mark.parametrize(
    "junk",
    [b"", b"null", b"[]", b"{", b'{"preferences":1}', b'{"preferences":{}} x', b'{"preferences":{}}\xff', b"\xff"],
)
async def test_a_result_that_does_not_fit_changes_nothing(server: Server, store: Open, junk: bytes) -> None:
    sessions = await store(server)
    live, _ = await sessions.start(MINIMAL)
    with pytest.raises(InvalidInput):
        await sessions.change(live.session_id, lambda _: junk)
    assert server.raw()("GET", key(live)) == live.body


async def test_a_result_too_large_changes_nothing(server: Server, store: Open) -> None:
    sessions = await store(server)
    live, _ = await sessions.start(MINIMAL)
    with pytest.raises(InvalidInput, match="too many"):
        await sessions.change(live.session_id, patch(notes="x" * 1_000_000))
    assert server.raw()("GET", key(live)) == live.body


BROKEN = {
    "empty": b"",
    "null": b"null",
    "array": b"[]",
    "cut": b"{",
    "incomplete": b'{"preferences":{}}',
    "pickle": b"\x80\x04pickle",
    "no text": b'{"preferences":{},"x":"\xff"',
    "deep": b'{"preferences":{},"last_activity_timestamp":"2026-01-01T00:00:00Z","x":'
    + b"[" * 100_000
    + b"]" * 100_000
    + b"}",
}


@pytest.mark.once_on_cluster
@pytest.mark.parametrize("broken", BROKEN.values(), ids=BROKEN)
async def test_an_undecodable_session_is_an_error_and_never_overwritten(
    server: Server, store: Open, broken: bytes
) -> None:
    sessions, raw = await store(server), server.raw()
    live, token = await sessions.start({**MINIMAL, "user_id": "u1"})
    raw("SET", key(live), broken, "XX", "KEEPTTL")
    calls = (
        lambda: sessions.read(token),
        lambda: sessions.change(live.session_id, patch(a=1)),
        lambda: sessions.settle(live.session_id),
        lambda: sessions.rotate(live.session_id, {"user_id": "u2"}),
    )
    for call in calls:
        with pytest.raises(BrokenValue) as raised:
            await call()
        assert live.session_id not in str(raised.value) + repr(raised.value)
    assert raw("GET", key(live)) == broken
    assert raw("PTTL", key(live)) > 0
    assert await sessions.of_user("u1") == []
    assert await sessions.end(live.session_id), "it can be ended"
    assert await sessions.read(token) is None


async def test_a_change_prolongs_the_session_and_counts_as_a_touch(server: Server, store: Open) -> None:
    sessions, raw = await store(server), server.raw()
    live, token = await sessions.start(MINIMAL)
    age(raw, 20 * MINUTE)
    changed = await sessions.change(live.session_id, patch(a=1))
    assert raw("PTTL", key(live)) > 30 * 60_000
    assert raw("PTTL", companion("touched", live)) > 30_000
    assert changed.value.last_activity_timestamp > live.value.last_activity_timestamp
    found = await sessions.read(token)
    assert found is not None
    assert not found.touch_due
    assert changed.started_text == live.started_text


@pytest.mark.own_limits
async def test_what_fails_one_change_fails_those_behind_it_and_no_later_one(server: Server, store: Open) -> None:
    async with proxy_of(server) as proxy:
        sessions = await store(proxy)
        live, _ = await sessions.start(MINIMAL)
        await sessions.change(live.session_id, add_one)
        with server.frozen():
            results = await at_once(*(sessions.change(live.session_id, add_one) for _ in range(20)))
        assert all(isinstance(result, Exception) for result in results)
    later = await store(server)
    before = decoded(server.raw()("GET", key(live)))["count"]
    assert decoded((await later.change(live.session_id, add_one)).body)["count"] == before + 1


# How far a change travels --------------------------------------------------------------------------


@pytest.mark.parametrize("call", ["update", "change"])
async def test_a_change_passes_five_functions_down_to_the_engine(
    server: Server, store: Open, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    sessions = await store(server)
    _, token = await sessions.start(MINIMAL)
    signals = Signals(Kind.HTTP, True, Origin.NONE, Token.PRESENT, Carrier.BEARER, Transport.LOOPBACK, token)
    request, run, passed = RequestSession(sessions, signals), sessions.engine.run, list[str]()

    async def counted(*args: Any, **options: Any) -> Any:
        frame: FrameType | None = sys._getframe(1)
        while frame is not None and frame.f_globals["__name__"].startswith("greenroom.sessions"):
            passed.append(frame.f_code.co_name)
            frame = frame.f_back
        return await run(*args, **options)

    await request.get()
    monkeypatch.setattr(sessions.engine, "run", counted)
    await (request.update(note="x") if call == "update" else request.change(lambda body: body))
    assert passed[-4:] == ["write", "apply", "change", call], "and the engine's is the fifth"


if __name__ == "__main__":
    # Five hundred at once wait longer for their turn than a call may take.
    setattr(Engine, "call_budget", 60.0)  # noqa: B010
    asyncio.run(_increment(sys.argv[1], sys.argv[2]))
