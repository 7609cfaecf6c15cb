"""The token is in no key, value, log line, repr or error; the id in no log and no error."""

from __future__ import annotations

import asyncio
import logging
import traceback
from typing import Any

import pytest

from greenroom.errors import GreenroomError
from greenroom.sessions import Presence, handle
from tests.support.proxy import proxy_of
from tests.support.real_servers import Server
from tests.support.session_stores import MINIMAL, MINUTE, Open, age, at_once, everything, key, patch, used

pytestmark = pytest.mark.on_cluster


async def every_way(sessions: Any, raw: Any, secrets: list[str], shown: list[str]) -> None:
    """Do all that can be done with a session, and gather what it shows of itself."""
    live, token = await sessions.start({**MINIMAL, "user_id": "u1"})
    secrets += [token, live.session_id]
    age(raw, MINUTE)
    await used(sessions, token)
    presence = Presence(sessions)
    stream = await presence.open("p1", live.session_id)
    assert await presence.renew(stream)
    shown += [repr(live), str(live), repr(stream), repr(await sessions.of_user("u1")), repr(sessions), repr(presence)]
    await sessions.change(live.session_id, patch(a=1))
    new, token = await sessions.rotate(live.session_id, {})
    secrets += [token, new.session_id]
    shown += [repr(await sessions.read(secrets[0])), repr(new)]
    raw("SET", key(new), b"broken", "XX", "KEEPTTL")
    results = await at_once(
        sessions.read(token),
        sessions.change(new.session_id, patch(a=1)),
        sessions.settle(new.session_id),
        sessions.rotate(new.session_id, {}),
        presence.open("p1", new.session_id),
        sessions.of_user("u1"),
    )
    raw("DEL", key(new))
    results += await at_once(
        sessions.change(new.session_id, patch(a=1)),
        sessions.rotate(new.session_id, {}),
        presence.open("p1", new.session_id),
        presence.renew(stream),
        sessions.read(token),
    )
    await sessions.end_all("u1")
    await sessions.close()
    for error in [result for result in results if isinstance(result, BaseException)]:
        assert isinstance(error, GreenroomError)
        shown += [str(error), repr(error), repr(error.args), "".join(traceback.format_exception(error))]
    assert len([one for one in results if isinstance(one, BaseException)]) == 8


async def test_the_token_is_nowhere_and_the_id_in_no_log_and_no_error(
    server: Server, store: Open, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    sessions, raw = await store(server), server.raw()
    secrets: list[str] = []
    shown: list[str] = []
    await every_way(sessions, raw, secrets, shown)
    live, token = await sessions.start({**MINIMAL, "user_id": "u1"})
    secrets += [token, live.session_id]
    rotated, new = await sessions.rotate(live.session_id, {})
    secrets += [new, rotated.session_id]
    stored = everything(raw).decode()
    for token in secrets[0::2]:
        assert token not in stored
    assert secrets[-1] in stored, "the id is the key"
    assert "does not fit its schema" in caplog.text
    for secret in secrets:
        assert secret not in caplog.text
        assert not any(secret in text for text in shown)
    assert handle(secrets[1]) not in stored


async def test_neither_shows_when_the_server_fails(
    server: Server, store: Open, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with proxy_of(server) as proxy:
        sessions = await store(proxy)
        live, token = await sessions.start({**MINIMAL, "user_id": "u1"})
        age(server.raw(), MINUTE)
        due = await sessions.read(token)
        assert due is not None
        await proxy.all_down()
        sessions.touch(due)
        await sessions.close()
        results = await at_once(
            sessions.read(token),
            sessions.change(live.session_id, patch(a=1)),
            sessions.rotate(live.session_id, {}),
            sessions.end(live.session_id),
            sessions.end_all("u1"),
            sessions.of_user("u1"),
            Presence(sessions).open("p1", live.session_id),
        )
    assert "could not be touched" in caplog.text
    texts = [caplog.text]
    for error in results:
        assert isinstance(error, GreenroomError)
        texts.append("".join(traceback.format_exception(error)))
    assert not any(secret in text for secret in (token, live.session_id) for text in texts)


async def test_neither_shows_in_what_the_event_loop_logs(
    server: Server, store: Open, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    asyncio.get_running_loop().set_debug(True)
    asyncio.get_running_loop().slow_callback_duration = 0.0  # every step is logged
    sessions, raw = await store(server), server.raw()
    live, token = await sessions.start(MINIMAL)
    age(raw, MINUTE)
    await used(sessions, token)
    await sessions.end(live.session_id)
    asyncio.get_running_loop().set_debug(False)
    assert "took" in caplog.text
    assert token not in caplog.text
    assert live.session_id not in caplog.text
