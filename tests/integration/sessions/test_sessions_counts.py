"""Who is active and who listens, after thousands of starts, ends, lapses and kills at random: exact, and without SCAN.

The bound: at every moment the count is at least what is alive; it is more only by what was killed or has ended
unnoticed less than the idle limit (a listener: less than its stay) ago.
"""

from __future__ import annotations

import asyncio
import random
from datetime import timedelta

import pytest

from greenroom.sessions import Presence
from greenroom.sessions.index import Stream
from tests.support.patience import PATIENT
from tests.support.real_servers import Server
from tests.support.session_stores import MINIMAL, MINUTE, SECOND, Open, Passing, calls, used

pytestmark = pytest.mark.on_cluster

SCANS = {"scan", "keys", "sscan", "hscan", "zscan", "dbsize", "smembers"}

SEED = 0
STEP = 45
"""Seconds: half of what a listener lasts, so that no age is near the limit however long the test itself takes."""


class Crowd:
    """Sessions and listeners as a model: when each was last heard of, in seconds."""

    def __init__(self) -> None:
        self.random = random.Random(SEED)
        self.now = 0.0
        self.sessions: dict[str, tuple[str, str, float]] = {}  # token → id, user, last heard of

    def step(self) -> timedelta:
        """Some time that passes: two minutes, four or six."""
        passed = 2 * self.random.randrange(1, 4) * MINUTE
        self.now += passed.total_seconds()
        return passed

    def some(self, of: dict[str, object], number: int) -> list[str]:
        return self.random.sample(sorted(of), min(number, len(of)))


@pytest.mark.one_kind
async def test_counts_after_thousands_of_random_sessions_are_exact(
    server: Server, store: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    passes, raw = Passing(server, monkeypatch), server.raw()
    here, there = [await store(server, engine_limits=PATIENT) for _ in range(2)]
    crowd = Crowd()
    begun = 0
    raw("CONFIG", "RESETSTAT")
    rounds = 30 if isinstance(server, Server) else 15  # there only the way to the node is another
    for _ in range(rounds):
        here, there = there, here
        # Some begin, some log in, some are used, some end, all of a user's end.
        users = [f"u{crowd.random.randrange(40)}" for _ in range(50)]
        for user, (live, token) in zip(
            users, await asyncio.gather(*(here.start({**MINIMAL, "user_id": user}) for user in users)), strict=True
        ):
            crowd.sessions[token] = (live.session_id, user, crowd.now)
            begun += 1
        for token in crowd.some(crowd.sessions, 30):  # type: ignore[arg-type]
            session, user, _ = crowd.sessions.pop(token)
            live, new = await there.rotate(session, {})
            crowd.sessions[new] = (live.session_id, user, crowd.now)
        for token in crowd.some(crowd.sessions, 60):  # type: ignore[arg-type]
            session, user, _ = crowd.sessions[token]
            found = await used(there, token)
            assert found is not None
            if found.touch_due:
                crowd.sessions[token] = (session, user, crowd.now)
        for token in crowd.some(crowd.sessions, 20):  # type: ignore[arg-type]
            assert await here.end(crowd.sessions.pop(token)[0])
        gone = f"u{crowd.random.randrange(40)}"
        mine = {token for token, (_, user, _) in crowd.sessions.items() if user == gone}
        assert await here.end_all(gone) == len(mine)
        for token in mine:
            del crowd.sessions[token]
        assert await here.active() == len(crowd.sessions) == await there.active()
        # Who has not been heard of for the idle limit and an interval is over, and five seconds later not counted.
        # All ages are whole steps: none is near a limit, however long the test itself takes.
        passes(crowd.step())
        lapsed = {token for token, (_, _, heard) in crowd.sessions.items() if crowd.now - heard >= 31 * 60}
        for token in lapsed:
            del crowd.sessions[token]
        assert await here.active() == len(crowd.sessions)
        for token in sorted(lapsed)[:3]:
            assert await there.read(token) is None
    assert begun == 50 * rounds
    passes(31 * MINUTE + 5 * SECOND)
    assert await here.active() == await there.active() == 0
    assert crowd.sessions  # those that have just lapsed
    for token in sorted(crowd.sessions)[:3]:
        assert await there.read(token) is None
    asked = calls(raw)
    assert asked.pop("keys") == asked["eval"], "the clock's own"
    assert not SCANS & set(asked)


@pytest.mark.one_kind
async def test_listeners_after_thousands_of_random_streams_are_exact(
    server: Server, store: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    passes, raw, randomly = Passing(server, monkeypatch), server.raw(), random.Random(SEED)
    presences = [Presence(await store(server, engine_limits=PATIENT)) for _ in range(2)]
    now, heard = 0.0, dict[Stream, float]()
    listening: list[Stream] = []
    raw("CONFIG", "RESETSTAT")
    for turn in range(25 if isinstance(server, Server) else 8):
        presence = presences[turn % 2]
        podcasts = [f"p{randomly.randrange(60)}" for _ in range(80)]
        for stream in await asyncio.gather(*(presence.open(podcast, None) for podcast in podcasts)):
            listening.append(stream)
            heard[stream] = now
        randomly.shuffle(listening)
        for _ in range(min(40, len(listening))):
            closed = listening.pop()
            await presence.close(closed)
            del heard[closed]
        del listening[: randomly.randrange(20)]  # their server is killed: they stand on the rolls until they lapse
        assert await presence.listeners() == _expected(heard, now)
        passes(STEP * SECOND)
        now += STEP
        for stream in listening:
            assert await presence.renew(stream)
            heard[stream] = now
        for stream in [stream for stream, last in heard.items() if now - last >= 90]:
            del heard[stream]
        assert await presences[0].listeners() == _expected(heard, now) == await presences[1].listeners()
    assert sum(1 for _ in heard) > len(listening)
    passes(90 * SECOND)
    assert await presences[0].listeners() == {}
    asked = calls(raw)
    assert asked.pop("keys") == asked["eval"], "the clock's own"
    assert not SCANS & set(asked)


def _expected(heard: dict[Stream, float], now: float) -> dict[str, int]:
    counts: dict[str, int] = {}
    for stream, last in heard.items():
        if now - last < 90:
            counts[stream.content_id] = counts.get(stream.content_id, 0) + 1
    return counts


async def test_what_a_crash_left_is_counted_until_the_idle_limit_and_no_longer(
    server: Server, store: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    passes, sessions, raw = Passing(server, monkeypatch), await store(server), server.raw()
    raw("ZADD", "greenroom:active:{sessions}", int(raw("TIME")[0]) * 1000, "listed-and-never-begun")
    passes(31 * MINUTE - SECOND)
    assert await sessions.active() == 1
    passes(7 * SECOND)
    assert await sessions.active() == 0


async def test_rolls_are_bounded_by_who_is_there(server: Server, store: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    passes, sessions, raw = Passing(server, monkeypatch), await store(server), server.raw()
    for _ in range(10):
        await asyncio.gather(*(sessions.start(MINIMAL) for _ in range(50)))
        passes(10 * MINUTE)
    assert raw("ZCARD", "greenroom:active:{sessions}") == 200
    passes(32 * MINUTE)
    assert not raw("EXISTS", "greenroom:active:{sessions}")
