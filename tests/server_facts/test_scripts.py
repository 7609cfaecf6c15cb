"""What servers do with scripts and the replies of RESP3: the facts that the engine and its scripts stand on."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from importlib.resources import files
from typing import Any

import hiredis
import pytest

from greenroom.engine import Script
from greenroom.engine.protocol.wire import Wire
from tests.support.real_servers import Raw, Server
from tests.support.tracked_socket import Tracked

ONE = Script("return 1")
LUA = sorted(
    file.name.removesuffix(".lua")
    for file in files("greenroom.engine").joinpath("lua").iterdir()
    if file.name.endswith(".lua")
)


@pytest.fixture
def raw(server: Server) -> Iterator[Raw]:
    """A connection to the server."""
    connection = server.raw()
    yield connection
    connection.close()


@pytest.fixture
def tracked(server: Server) -> Iterator[Tracked]:
    """A RESP3 connection, as the engine's."""
    connection = Tracked(server)
    yield connection
    connection.close()


# By hash -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", LUA)
def test_a_script_s_hash_is_the_server_s(raw: Raw, name: str) -> None:
    script = Script.named(name)
    assert raw("SCRIPT", "LOAD", script.source) == script.sha.encode()


def test_a_loaded_script_survives_a_thousand_others(raw: Raw) -> None:
    # One that only EVAL has seen may be evicted by as many.
    raw("SCRIPT", "LOAD", ONE.source)
    for number in range(1000):
        raw("EVAL", f"return {number} + 1", 0)
    assert raw("EVALSHA", ONE.sha, 0) == 1


def test_after_a_flush_of_scripts_the_hash_is_unknown(raw: Raw) -> None:
    raw("SCRIPT", "LOAD", ONE.source)
    raw("SCRIPT", "FLUSH")
    assert str(raw("EVALSHA", ONE.sha, 0)).startswith("NOSCRIPT ")


def test_after_a_restart_the_hash_is_unknown(server: Server) -> None:
    server.raw()("SCRIPT", "LOAD", ONE.source)
    server.kill()
    server.start()
    assert str(server.raw()("EVALSHA", ONE.sha, 0)).startswith("NOSCRIPT ")


def test_an_unknown_hash_moves_no_other_reply(tracked: Tracked) -> None:
    replies = tracked.together(("PING",), ("EVALSHA", "0" * 40, 0), ("GET", "k"), ("EVALSHA", "1" * 40, 0), ("PING",))
    assert [type(reply) for reply in replies] == [bytes, hiredis.ReplyError, type(None), hiredis.ReplyError, bytes]


@pytest.mark.parametrize("name", LUA)
def test_no_script_begins_with_a_shebang(name: str) -> None:
    # With one the server refuses it under memory pressure, even where it would only read.
    assert not Script.named(name).source.startswith("#!")


# In a script ---------------------------------------------------------------------------------------


def test_sha1hex_is_hashlib_s(raw: Raw) -> None:
    dice = random.Random(1)
    for value in (b"", b"\x00", b"a\x00b", "é".encode(), b"\xff\xfe", dice.randbytes(100_000)):
        assert raw("EVAL", "return redis.sha1hex(ARGV[1])", 0, value) == hashlib.sha1(value).hexdigest().encode()


def test_a_missing_value_is_false_and_an_error_caught_is_a_table(raw: Raw) -> None:
    raw("LPUSH", "list", "x")
    script = "return {tostring(redis.call('GET', KEYS[1])), type(redis.pcall('GET', KEYS[2]))}"
    assert raw("EVAL", script, 2, "missing", "list") == [b"false", b"table"]


def test_a_script_may_write_after_it_asked_for_the_time(raw: Raw) -> None:
    assert raw("EVAL", "redis.call('TIME') return redis.call('SET', KEYS[1], 1)", 1, "k") == b"OK"


def test_a_number_goes_into_a_command_with_all_its_digits(raw: Raw) -> None:
    micros = 4_102_444_799_999_999
    raw("EVAL", "redis.call('SET', KEYS[1], ARGV[1] + 0)", 1, "k", micros)
    assert float(raw("GET", "k")) == micros


def test_what_getex_reads_in_a_script_is_not_tracked(tracked: Tracked, raw: Raw) -> None:
    tracked("EVAL", "return {redis.call('GETEX', KEYS[1]), redis.call('GETEX', KEYS[2])}", 2, "a", "b")
    raw("MSET", "a", "1", "b", "1")
    assert tracked.pushed() == []


def test_a_script_reads_the_whole_lifetime_that_it_has_just_set(raw: Raw) -> None:
    # To the millisecond: Redis 7.0 looks at the clock once more, and that may tick in between.
    script = "redis.call('SET', KEYS[1], 1, 'PX', 60000) return redis.call('PTTL', KEYS[1])"
    assert {raw("EVAL", script, 1, "k") for _ in range(50)} <= {60_000, 59_999}


# Lifetimes -----------------------------------------------------------------------------------------


def test_pexpire_lt_gives_a_key_without_a_lifetime_one(raw: Raw) -> None:
    raw("SET", "k", "1")
    assert raw("PEXPIRE", "k", 60_000, "LT") == 1
    assert 50_000 < raw("PTTL", "k") <= 60_000


def test_pexpire_lt_shortens_and_never_lengthens(raw: Raw) -> None:
    raw("SET", "k", "1", "PX", 60_000)
    assert raw("PEXPIRE", "k", 90_000, "LT") == 0
    assert raw("PTTL", "k") <= 60_000
    assert raw("PEXPIRE", "k", 30_000, "LT") == 1
    assert raw("PTTL", "k") <= 30_000


def test_pexpire_lt_makes_no_key(raw: Raw) -> None:
    assert raw("PEXPIRE", "k", 60_000, "LT") == 0
    assert raw("DBSIZE") == 0


def test_pttl_tells_no_key_from_no_lifetime(raw: Raw) -> None:
    raw("SET", "k", "1")
    assert (raw("PTTL", "k"), raw("PTTL", "missing")) == (-1, -2)


# Replies -------------------------------------------------------------------------------------------


def received(tracked: Tracked, *command: str | bytes | int) -> list[Any]:
    """What the engine's own reader makes of the bytes of a reply, and of a PING after it."""
    wire, replies = Wire(lambda _: None), []
    wire.issue((command, ("PING",)), None, lambda found, _: replies.extend(found))
    tracked._socket.sendall(wire.take())
    while wire.answered < 2:
        wire.feed(tracked._socket.recv(65536))
    return replies


def test_null_is_none_at_any_depth(tracked: Tracked) -> None:
    assert received(tracked, "GET", "missing") == [None, b"PONG"]
    assert received(tracked, "MGET", "missing", "too") == [[None, None], b"PONG"]
    assert received(tracked, "EVAL", "return false", 0) == [None, b"PONG"]
    assert received(tracked, "EVAL", "return {'a', false, 5}", 0) == [[b"a", None, 5], b"PONG"]


def test_false_is_a_reply_and_not_the_lack_of_one(tracked: Tracked) -> None:
    assert received(tracked, "EVAL", "redis.setresp(3) return false", 0) == [False, b"PONG"]
