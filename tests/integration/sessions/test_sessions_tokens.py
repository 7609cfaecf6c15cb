"""What is no token, or names no session, opens nothing and makes nothing."""

from __future__ import annotations

import pytest

from greenroom.sessions import SessionGone
from greenroom.sessions.token import is_token, new_token, session_id
from tests.support.real_servers import Server
from tests.support.session_stores import MINIMAL, Open, calls, names, patch

pytestmark = pytest.mark.on_cluster

MALFORMED = [
    "",
    " ",
    "a",
    "a" * 42,
    "a" * 44,
    "a" * 1_000_000,
    "a" * 42 + "=",
    "a" * 42 + "\n",
    "a" * 43 + "\n",
    "a" * 42 + "+",
    "a" * 42 + "/",
    "a" * 42 + "*",
    "a" * 42 + "é",
    "a" * 42 + "\0",
    "ａ" * 43,
    "{session:x}",
    "../" * 14 + "a",
]


@pytest.mark.once_on_cluster
@pytest.mark.parametrize("text", MALFORMED)
async def test_a_malformed_token_is_refused_before_any_look_up(server: Server, store: Open, text: str) -> None:
    sessions, raw = await store(server), server.raw()
    raw("CONFIG", "RESETSTAT")
    assert not is_token(text)
    assert await sessions.read(text) is None
    assert set(calls(raw)) <= {"config|resetstat", "info", "ping"}
    assert names(raw) == set()


async def test_an_unknown_token_is_never_adopted(server: Server, store: Open) -> None:
    sessions, raw = await store(server), server.raw()
    forged = new_token()
    assert await sessions.read(forged) is None
    for call in (sessions.change(session_id(forged), patch(a=1)), sessions.rotate(session_id(forged), MINIMAL)):
        with pytest.raises(SessionGone):
            await call
        assert names(raw) == set()
    with pytest.raises(SessionGone):
        await sessions.settle(session_id(forged))
    assert names(raw) == set()
    assert not await sessions.end(session_id(forged))
    assert await sessions.read(forged) is None
    assert names(raw) == set()


async def test_a_key_written_by_others_under_a_planted_token_is_no_session(server: Server, store: Open) -> None:
    sessions, raw = await store(server), server.raw()
    planted = new_token()
    name = f"session:{session_id(planted)}"
    raw("SET", name, b'{"preferences":{},"last_activity_timestamp":"2026-01-01T00:00:00Z","user_id":"u1"}')
    assert await sessions.read(planted) is None
    await sessions.close()
    assert names(raw) == set(), "only this library begins sessions"


async def test_the_id_is_no_token_and_the_token_no_id(server: Server, store: Open) -> None:
    sessions = await store(server)
    live, token = await sessions.start(MINIMAL)
    assert await sessions.read(live.session_id) is None
    assert await sessions.read_id(token) is None
    assert await sessions.read(token) is not None


async def test_a_token_one_bit_off_opens_nothing(server: Server, store: Open) -> None:
    sessions = await store(server)
    _, token = await sessions.start(MINIMAL)
    for last in "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_":
        near = token[:-1] + last
        assert (await sessions.read(near) is not None) == (near == token)


def test_tokens_are_256_random_bits() -> None:
    tokens = {new_token() for _ in range(1000)}
    assert len(tokens) == 1000
    assert all(is_token(token) for token in tokens)
    for place in range(42):
        assert len({token[place] for token in tokens}) > 32, "no place is fixed"


def test_the_id_is_the_hash_that_other_services_are_told() -> None:
    # printf %s aaa… (43) | openssl dgst -sha256 -binary | basenc --base64url, without the padding
    assert session_id("a" * 43) == "ZtNPunH49FD35FWYhT5Tv8I7vRKQJ8uxMaL0_9eHjNA"
