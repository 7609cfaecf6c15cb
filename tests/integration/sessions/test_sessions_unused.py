"""Anonymous sessions whose token does not come back live shortly; the first use gives them the usual limits.

Time passes as in `test_sessions_clocks.py`.
"""

from __future__ import annotations

from datetime import timedelta

import pytest

from greenroom.errors import InvalidInput
from greenroom.sessions import Presence, SessionLimits
from tests.support.real_servers import Server
from tests.support.session_stores import (
    HOUR,
    MINIMAL,
    MINUTE,
    SECOND,
    Open,
    Passing,
    companion,
    key,
    names,
    patch,
    used,
)

pytestmark = pytest.mark.on_cluster

USUAL = SessionLimits()
SHORT = USUAL.unused
LISTED = SHORT + USUAL.late
"""For so long an unused session is on the roll of active ones."""


@pytest.fixture
def passes(server: Server, monkeypatch: pytest.MonkeyPatch) -> Passing:
    return Passing(server, monkeypatch)


async def test_a_session_never_used_again_is_gone_after_two_minutes(
    server: Server, store: Open, passes: Passing
) -> None:
    here, there, raw = await store(server, USUAL), await store(server, USUAL), server.raw()
    _, token = await here.start(MINIMAL)
    passes(SHORT - SECOND)
    assert await here.active() == await there.active() == 1
    passes(SECOND)
    assert not names(raw) - {"greenroom:active:{sessions}"}, "nothing stands for hours"
    assert await there.read(token) is None
    passes(USUAL.late)
    assert await here.active() == await there.active() == 0
    assert here.counters.sessions["started",] == 1


async def test_a_session_used_once_more_has_the_usual_limits(server: Server, store: Open, passes: Passing) -> None:
    here, there = await store(server, USUAL), await store(server, USUAL)
    live, token = await here.start(MINIMAL)
    passes(SHORT - SECOND)
    assert await used(there, token) is not None
    assert USUAL.lifetime - MINUTE < timedelta(milliseconds=server.raw()("PTTL", key(live))) <= USUAL.lifetime
    passes(USUAL.idle - SECOND)
    assert await here.active() == 1
    assert await used(here, token) is not None
    passes(USUAL.lifetime)
    assert await here.read(token) is None
    passes(USUAL.late)
    assert await there.active() == 0


async def test_a_token_that_is_only_read_again_is_used(server: Server, store: Open, passes: Passing) -> None:
    sessions = await store(server, USUAL)
    _, token = await sessions.start(MINIMAL)
    assert await sessions.read(token) is not None
    await sessions.close()
    passes(USUAL.idle)
    assert await sessions.active() == 1
    assert await sessions.read(token) is not None


async def test_its_absolute_limit_counts_from_its_beginning(server: Server, store: Open, passes: Passing) -> None:
    sessions = await store(server, USUAL)
    live, token = await sessions.start(MINIMAL)
    passes(SHORT - SECOND)
    assert await used(sessions, token) is not None
    left = timedelta(milliseconds=server.raw()("PTTL", companion("life", live)))
    assert USUAL.absolute - SHORT - MINUTE < left <= USUAL.absolute - SHORT + SECOND
    for _ in range(25):
        passes(29 * MINUTE)
        if await used(sessions, token) is None:
            break
    assert await sessions.read(token) is None


async def test_a_change_is_a_use_and_adds_the_rest_of_life_once(server: Server, store: Open, passes: Passing) -> None:
    here, there = await store(server, USUAL), await store(server, USUAL)
    live, token = await here.start(MINIMAL)
    passes(MINUTE)
    for sessions in (here, there, here):
        await sessions.change(live.session_id, patch(seen=1))
    left = timedelta(milliseconds=server.raw()("PTTL", companion("life", live)))
    assert USUAL.absolute - 2 * MINUTE < left <= USUAL.absolute - MINUTE
    passes(USUAL.idle)
    assert await there.read(token) is not None


async def test_a_failed_change_leaves_session_and_roll_of_one_length(
    server: Server, store: Open, passes: Passing
) -> None:
    sessions = await store(server, USUAL)
    live, _ = await sessions.start(MINIMAL)
    with pytest.raises(InvalidInput):
        await sessions.change(live.session_id, patch(user_id="u1"))
    while sessions.leftovers:
        await sessions.leftovers._task  # type: ignore[misc]
    passes(USUAL.idle)
    assert await sessions.active() == 1
    assert await sessions.read_id(live.session_id) is not None
    passes(MINUTE + USUAL.late)
    assert await sessions.active() == 0
    assert await sessions.read_id(live.session_id) is None


async def test_a_rotation_of_an_unused_session_has_the_rest_of_its_life(
    server: Server, store: Open, passes: Passing
) -> None:
    sessions = await store(server, USUAL)
    live, _ = await sessions.start(MINIMAL)
    passes(MINUTE)
    new, token = await sessions.rotate(live.session_id, {})
    left = timedelta(milliseconds=server.raw()("PTTL", companion("life", new)))
    assert USUAL.absolute - 2 * MINUTE < left <= USUAL.absolute - MINUTE
    passes(USUAL.idle)
    assert await sessions.active() == 1
    assert await sessions.read(token) is not None


async def test_a_signed_in_session_is_not_shortened(server: Server, store: Open, passes: Passing) -> None:
    sessions = await store(server, USUAL)
    _, token = await sessions.start({**MINIMAL, "user_id": "u1"})
    visitor, _ = await sessions.start(MINIMAL)
    _, signed_in = await sessions.rotate(visitor.session_id, {"user_id": "u1"})
    passes(USUAL.idle)
    assert await sessions.active() == 2
    assert await sessions.read(token) is not None
    assert await sessions.read(signed_in) is not None


async def test_an_unused_session_with_an_open_stream_is_not_shortened(
    server: Server, store: Open, passes: Passing
) -> None:
    sessions = await store(server, USUAL)
    live, token = await sessions.start(MINIMAL)
    stream = await Presence(sessions).open("p1", live.session_id)
    passes(SHORT + MINUTE)
    assert await sessions.active() == 1
    assert await Presence(sessions).renew(stream)
    assert await sessions.read(token) is not None


async def test_limits_may_let_unused_sessions_live_as_others(server: Server, store: Open, passes: Passing) -> None:
    limits = SessionLimits(unused=2 * HOUR)
    sessions = await store(server, limits)
    live, token = await sessions.start(MINIMAL)
    assert server.raw()("GET", companion("touched", live)) == b"1"
    passes(limits.idle)
    assert await sessions.active() == 1
    assert await sessions.read(token) is not None
    passes(MINUTE)
    assert await sessions.read(token) is None
