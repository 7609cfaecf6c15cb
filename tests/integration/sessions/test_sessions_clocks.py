"""How long a session lives: the idle limit, the absolute limit, and the touches that keep to the first.

No test waits. Time passes by shortening every lifetime on the server by the time that has passed, and moving the times
kept in its sorted sets (`session_stores.age`), all in one script: what the server then has is what it would have after
so long, to the millisecond. What a process remembers of its own touches is moved with it (`Passing`).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import datetime, timedelta

import pytest

from greenroom.sessions import SessionGone, SessionLimits, Sessions
from tests.support.patience import until
from tests.support.real_servers import Server
from tests.support.session_stores import (
    HOUR,
    MINIMAL,
    MINUTE,
    SECOND,
    Open,
    Passing,
    age,
    calls,
    companion,
    decoded,
    key,
    names,
    patch,
    used,
)

pytestmark = pytest.mark.on_cluster


@pytest.fixture
def passes(server: Server, monkeypatch: pytest.MonkeyPatch) -> Passing:
    return Passing(server, monkeypatch)


async def test_ten_requests_in_a_second_cost_ten_reads_and_no_undue_touch(server: Server, store: Open) -> None:
    sessions, raw = await store(server), server.raw()
    _, token = await sessions.start(MINIMAL)
    raw("CONFIG", "RESETSTAT")
    for _ in range(10):
        assert await used(sessions, token) is not None
    assert calls(raw).get("mget") == 10
    assert "evalsha" not in calls(raw)
    assert set(calls(raw)) <= {"mget", "ping", "info", "config|resetstat"}


@pytest.mark.parametrize("at_once", [True, False])
async def test_ten_requests_in_a_second_cost_ten_reads_and_one_due_touch(
    server: Server, store: Open, at_once: bool
) -> None:
    sessions, raw = await store(server), server.raw()
    _, token = await sessions.start(MINIMAL)
    age(raw, MINUTE)
    raw("CONFIG", "RESETSTAT")
    if at_once:
        found = await asyncio.gather(*(sessions.read(token) for _ in range(10)))
        for live in found:
            assert live is not None
            assert live.touch_due
            sessions.touch(live)
        await sessions.close()
    else:
        for _ in range(10):
            await used(sessions, token)
    assert calls(raw)["mget"] == 10
    assert calls(raw)["set"] == 2, "the value and its mark, once"
    assert calls(raw)["evalsha"] == 2, "onto the roll, and the touch"


async def test_processes_that_all_find_a_touch_due_make_one(server: Server, store: Open) -> None:
    processes, raw = [await store(server) for _ in range(5)], server.raw()
    _, token = await processes[0].start(MINIMAL)
    age(raw, MINUTE)
    found = [await sessions.read(token) for sessions in processes]
    raw("CONFIG", "RESETSTAT")
    for sessions, live in zip(processes, found, strict=True):
        assert live is not None
        assert live.touch_due
        sessions.touch(live)
    await asyncio.gather(*(sessions.close() for sessions in processes))
    assert calls(raw)["set"] == 2


async def test_a_request_does_not_wait_for_its_touch(server: Server, store: Open) -> None:
    sessions = await store(server)
    _, token = await sessions.start(MINIMAL)
    age(server.raw(), MINUTE)
    live = await sessions.read(token)
    assert live is not None
    with server.frozen():
        sessions.touch(live)  # it is not even a coroutine
        assert len(sessions._background._detached)
    await sessions.close()


@pytest.mark.own_budget
async def test_a_touch_that_failed_is_made_by_the_next_request(server: Server, store: Open) -> None:
    sessions, raw = await store(server), server.raw()
    _, token = await sessions.start(MINIMAL)
    age(raw, MINUTE)
    live = await sessions.read(token)
    assert live is not None
    raw("CONFIG", "SET", "min-replicas-to-write", 9)  # every write is refused
    sessions.touch(live)
    await sessions.close()
    raw("CONFIG", "SET", "min-replicas-to-write", 0)
    assert not raw("EXISTS", companion("touched", live))
    await used(sessions, token)
    assert raw("EXISTS", companion("touched", live))


async def test_a_session_used_every_61_s_lives_to_its_absolute_limit(
    server: Server, store: Open, passes: Passing
) -> None:
    sessions = await store(server)
    _, token = await sessions.start(MINIMAL)
    for _ in range(700):
        passes(61 * SECOND)
        assert await used(sessions, token) is not None
    passes(12 * HOUR - 700 * 61 * SECOND)
    assert await sessions.read(token) is None


@pytest.mark.parametrize("since_touch", [timedelta(0), 30 * SECOND, 55 * SECOND])
async def test_one_idle_for_29_59_is_still_there_whenever_it_was_last_touched(
    server: Server, store: Open, passes: Passing, since_touch: timedelta
) -> None:
    sessions = await store(server)
    _, token = await sessions.start(MINIMAL)
    passes(since_touch)
    last = await used(sessions, token)
    assert last is not None
    assert not last.touch_due, "the last request wrote nothing"
    passes(29 * MINUTE + 59 * SECOND)
    assert await used(sessions, token) is not None
    passes(29 * MINUTE + 59 * SECOND)
    assert await sessions.read(token) is not None


async def test_one_idle_for_31_01_is_gone_and_leaves_nothing(server: Server, store: Open, passes: Passing) -> None:
    sessions = await store(server)
    live, token = await sessions.start(MINIMAL)
    passes(31 * MINUTE + SECOND)
    assert await sessions.read(token) is None
    with pytest.raises(SessionGone):
        await sessions.change(live.session_id, patch(a=1))
    with pytest.raises(SessionGone):
        await sessions.rotate(live.session_id, {"user_id": "u1"})
    await sessions.close()
    passes(MINUTE)
    assert names(server.raw()) == set()


async def test_what_is_read_of_a_lapsed_session_is_swept(server: Server, store: Open, passes: Passing) -> None:
    sessions = await store(server)
    live, token = await sessions.start(MINIMAL)
    passes(31 * MINUTE)
    assert names(server.raw()) >= {companion("life", live)}, "it would stand for hours"
    assert await sessions.read(token) is None
    await sessions.close()
    assert companion("life", live) not in names(server.raw())


@pytest.mark.parametrize("rotate", [False, True])
async def test_twelve_hours_end_it_however_active(server: Server, store: Open, passes: Passing, rotate: bool) -> None:
    sessions = await store(server)
    live, token = await sessions.start(MINIMAL)
    for number in range(12 * 2):
        passes(30 * MINUTE - SECOND)
        live = await sessions.change(live.session_id, patch(number=number))
        if rotate:
            live, token = await sessions.rotate(live.session_id, {})
    assert await sessions.read(token) is not None
    assert server.raw()("PTTL", key(live)) <= 24_000, "what is left of its life"
    passes(24 * SECOND)
    assert await sessions.read(token) is None
    with pytest.raises(SessionGone):
        await sessions.change(live.session_id, patch(late=True))
    passes(MINUTE)
    assert key(live) not in names(server.raw())


@pytest.mark.parametrize("user", [None, "u1"])
async def test_a_session_that_expired_leaves_its_life_for_12_h_and_no_more(
    server: Server, store: Open, passes: Passing, user: str | None
) -> None:
    usual, raw = SessionLimits(), server.raw()
    sessions = await store(server, usual)
    live, token = await sessions.start(MINIMAL | ({} if user is None else {"user_id": user}))
    assert await used(sessions, token) is not None
    lists = {"greenroom:active:{sessions}", "greenroom:sessions:{user:u1}"}
    passes(usual.lifetime)
    assert names(raw) - lists == {companion("life", live)}
    assert raw("MEMORY", "USAGE", companion("life", live)) <= 256
    passes(usual.absolute - usual.lifetime - MINUTE)
    assert names(raw) - lists == {companion("life", live)}
    passes(MINUTE + usual.late)
    assert names(raw) == set()


async def test_a_token_that_comes_back_too_late_takes_the_life_away(
    server: Server, store: Open, passes: Passing
) -> None:
    usual = SessionLimits()
    sessions = await store(server, usual)
    _, token = await sessions.start(MINIMAL)
    assert await used(sessions, token) is not None
    passes(usual.lifetime + usual.late)
    assert await sessions.read(token) is None
    await sessions.close()
    assert await sessions.active() == 0
    assert names(server.raw()) <= {"greenroom:active:{sessions}"}


async def test_a_log_in_begins_a_new_absolute_lifetime(server: Server, store: Open, passes: Passing) -> None:
    sessions = await store(server)
    live, _ = await sessions.start(MINIMAL)
    for _ in range(23):
        passes(30 * MINUTE)
        await sessions.change(live.session_id, patch())
    live, token = await sessions.rotate(live.session_id, {"user_id": "u1"})
    for _ in range(23):
        passes(30 * MINUTE)
        assert await used(sessions, token) is not None
    passes(30 * MINUTE)
    assert await sessions.read(token) is None


FOREIGN: dict[str, Callable[[str, bytes], tuple[str | bytes | int, ...]]] = {
    "EXPIRE": lambda name, _: ("EXPIRE", name, 10**9),
    "PERSIST": lambda name, _: ("PERSIST", name),
    "plain SET": lambda name, body: ("SET", name, body),
    "SET with EX": lambda name, body: ("SET", name, body, "EX", 10**9),
}


@pytest.mark.once_on_cluster
@pytest.mark.parametrize("how", FOREIGN)
async def test_a_foreign_lifetime_is_set_right_by_the_next_touch(
    server: Server, store: Open, passes: Passing, how: str
) -> None:
    sessions, raw = await store(server), server.raw()
    live, token = await sessions.start(MINIMAL)
    assert raw(*FOREIGN[how](key(live), live.body)) in (1, b"OK")
    passes(MINUTE)
    assert await used(sessions, token) is not None
    assert 0 < raw("PTTL", key(live)) <= 31 * 60_000
    passes(31 * MINUTE + SECOND)
    assert await sessions.read(token) is None


@pytest.mark.once_on_cluster
@pytest.mark.parametrize("how", FOREIGN)
@pytest.mark.parametrize("active", [True, False])
async def test_a_foreign_lifetime_makes_no_session_immortal(
    server: Server, store: Open, passes: Passing, how: str, active: bool
) -> None:
    sessions, raw = await store(server), server.raw()
    live, token = await sessions.start(MINIMAL)
    for _ in range(24):
        if raw("EXISTS", key(live)):
            raw(*FOREIGN[how](key(live), live.body))
        passes(30 * MINUTE)
        if active:
            await used(sessions, token)
    raw(*FOREIGN[how](key(live), live.body))
    assert await sessions.read(token) is None
    with pytest.raises(SessionGone):
        await sessions.change(live.session_id, patch(a=1))
    with pytest.raises(SessionGone):
        await sessions.rotate(live.session_id, {})
    await sessions.close()
    passes(MINUTE)
    assert key(live) not in names(raw), "swept by who has met it"


@pytest.mark.parametrize("use", ["life", "touched"])
async def test_a_companion_without_a_lifetime_makes_no_session_immortal(
    server: Server, store: Open, passes: Passing, use: str
) -> None:
    sessions, raw = await store(server), server.raw()
    live, token = await sessions.start(MINIMAL)
    assert raw("PERSIST", companion(use, live)) == 1
    for _ in range(24 * 2):
        passes(30 * MINUTE)
        await used(sessions, token)
    assert await sessions.read(token) is None


@pytest.mark.parametrize(
    ("persisted", "left"),
    [
        ((), SessionLimits().lifetime),
        (("life",), SessionLimits().lifetime),
        (("session",), SessionLimits().absolute),
        (("session", "life"), SessionLimits().lifetime),
    ],
)
async def test_a_session_without_a_lifetime_is_looked_at_when_it_should_end(
    server: Server, store: Open, persisted: tuple[str, ...], left: timedelta
) -> None:
    sessions, raw = await store(server), server.raw()
    live, _ = await sessions.start(MINIMAL)
    for use in persisted:
        assert raw("PERSIST", key(live) if use == "session" else companion(use, live)) == 1
    looked, stays = await sessions.store.stay(live.session_id)
    assert looked.body == live.body
    assert left - MINUTE < timedelta(milliseconds=stays) <= left
    raw("DEL", key(live))
    assert (await sessions.store.stay(live.session_id))[1] == 0


async def test_a_session_without_a_lifetime_is_not_looked_at_all_the_time(server: Server, store: Open) -> None:
    sessions, raw = await store(server), server.raw()
    live, _ = await sessions.start(MINIMAL)
    async with sessions.watched(live.session_id) as watch:
        assert raw("PERSIST", key(live)) == 1
        await until(lambda: watch._left > HOUR.total_seconds())
        assert watch.live is not None


async def test_a_client_clock_40_minutes_off_changes_nothing(
    server: Server, store: Open, passes: Passing, monkeypatch: pytest.MonkeyPatch
) -> None:
    sessions, raw = await store(server), server.raw()
    monkeypatch.setattr(time, "time", lambda: raw("TIME")[0] + 2400.0)

    class Late(datetime):
        @classmethod
        def now(cls, tz: object = None) -> datetime:  # type: ignore[override]
            return datetime.fromtimestamp(int(raw("TIME")[0]) + 2400, tz)  # type: ignore[arg-type]

    monkeypatch.setattr("greenroom.clock.datetime", Late)
    live, token = await sessions.start({**MINIMAL, "user_id": "u1"})
    passes(29 * MINUTE + 59 * SECOND)
    live = await used(sessions, token)  # type: ignore[assignment]
    assert live is not None
    said = decoded(raw("GET", key(live)))["last_activity_timestamp"]
    assert abs(datetime.fromisoformat(said).timestamp() - int(raw("TIME")[0])) < 60
    assert await sessions.active() == 1
    assert len(await sessions.of_user("u1")) == 1
    passes(31 * MINUTE + 6 * SECOND)
    assert await sessions.active() == 0
    assert await sessions.read(token) is None


async def test_other_limits_are_kept_as_well(server: Server, store: Open, passes: Passing) -> None:
    limits = SessionLimits(idle=10 * SECOND, touch=2 * SECOND, absolute=MINUTE)
    sessions: Sessions = await store(server, limits)  # type: ignore[type-arg]
    _, token = await sessions.start(MINIMAL)
    for _ in range(5):
        passes(10 * SECOND)
        assert await used(sessions, token) is not None
    passes(10 * SECOND)
    assert await sessions.read(token) is None
    _, token = await sessions.start(MINIMAL)
    passes(12 * SECOND)
    assert await sessions.read(token) is None


async def test_an_absolute_limit_below_the_idle_limit_is_kept(server: Server, store: Open, passes: Passing) -> None:
    sessions = await store(server, SessionLimits(absolute=MINUTE / 2))
    live, token = await sessions.start(MINIMAL)
    for name in (key(live), companion("life", live), companion("touched", live)):
        assert 0 < server.raw()("PTTL", name) <= 30_000
    passes(HOUR / 120)
    assert await sessions.read(token) is None
