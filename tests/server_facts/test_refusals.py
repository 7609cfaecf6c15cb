"""What servers refuse, and with which word: out of memory, and the errors that the engine tells apart by their code."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from greenroom.caching.groups import REGISTER
from greenroom.caching.lease import FILL, GET_OR_LEASE
from greenroom.caching.releases import RELEASE
from greenroom.engine.protocol.errors import NotNow, reply_error
from greenroom.errors import CommandFailed, EngineError, EngineRefused, OutOfMemory
from tests.support.real_servers import Raw, Server
from tests.support.tracked_socket import Tracked

Command = tuple[str | bytes | int, ...]
NAMES = "k", "lease:{k}", "absent:{k}"
OURS, THEIRS = "a" * 32, "b" * 32


@pytest.fixture
def raw(server: Server) -> Iterator[Raw]:
    """A connection to the server."""
    connection = server.raw()
    yield connection
    connection.close()


def kind(reply: Any) -> type[EngineError]:
    """The engine's exception for an error reply."""
    assert isinstance(reply, Exception), f"{reply!r} is no error"
    return type(reply_error(str(reply)))


# Out of memory -------------------------------------------------------------------------------------


@pytest.fixture
def full(raw: Raw) -> Raw:
    """A server at its limit that may not evict, with the key `k`."""
    raw("SET", "k", "v", "PX", 60_000)
    raw("CONFIG", "SET", "maxmemory-policy", "noeviction")
    raw("CONFIG", "SET", "maxmemory", 1)
    return raw


def ask(raw: Raw, token: str = OURS) -> Any:
    return raw("EVAL", GET_OR_LEASE.source, 3, *NAMES, token, 5000, "")


def test_out_of_memory_a_write_is_refused_with_that_word(full: Raw) -> None:
    assert kind(full("SET", "other", "v")) is OutOfMemory


ALLOWED: dict[str, Command] = {
    "GET": ("GET", "k"),
    "GETEX": ("GETEX", "k"),
    "PTTL": ("PTTL", "k"),
    "PEXPIRE": ("PEXPIRE", "k", 1000, "LT"),
    "DEL": ("DEL", *NAMES),
    "ZRANGE": ("ZRANGE", "group", 0, -1),
    "a script that reads": ("EVAL", "return redis.call('GET', KEYS[1])", 1, "k"),
    "a script that deletes": ("EVAL", "return redis.call('DEL', KEYS[1])", 1, "k"),
    "a loading of a script": ("SCRIPT", "LOAD", "return 1"),
}


@pytest.mark.parametrize("command", ALLOWED.values(), ids=ALLOWED)
def test_out_of_memory_reading_shortening_and_deleting_go_on(full: Raw, command: Command) -> None:
    assert not isinstance(full(*command), Exception)


def test_out_of_memory_a_shebang_script_is_refused_even_for_a_read(full: Raw) -> None:
    reply = full("EVAL", "#!lua\nreturn redis.call('GET', KEYS[1])", 1, "k")
    assert kind(reply) is OutOfMemory


def test_out_of_memory_refuses_a_lease_only_not_a_hit_or_a_wait(full: Raw) -> None:
    assert ask(full)[:2] == [b"value", b"v"]
    full("DEL", "k")
    assert kind(ask(full)) is OutOfMemory
    assert full("DBSIZE") == 0


def test_out_of_memory_a_fill_is_refused_and_its_lease_can_be_given_back(raw: Raw) -> None:
    assert ask(raw) == [b"lead"]
    raw("CONFIG", "SET", "maxmemory-policy", "noeviction")
    raw("CONFIG", "SET", "maxmemory", 1)
    assert ask(raw, THEIRS)[0] == b"wait"
    assert kind(raw("EVAL", FILL.source, 3, *NAMES, OURS, "v", 60_000)) is OutOfMemory
    assert raw("KEYS", "*") == [b"lease:{k}"]
    assert raw("EVAL", RELEASE.source, 1, "lease:{k}", OURS, "", 0) == 1
    assert raw("DBSIZE") == 0


def test_out_of_memory_a_failure_only_gives_the_lease_back(raw: Raw) -> None:
    # It cannot be left in the lease's place; a lease left as it is would keep everyone waiting for its end.
    assert ask(raw) == [b"lead"]
    raw("CONFIG", "SET", "maxmemory-policy", "noeviction")
    raw("CONFIG", "SET", "maxmemory", 1)
    assert raw("EVAL", RELEASE.source, 1, "lease:{k}", OURS, "KeyError", 1000) == 1
    assert raw("DBSIZE") == 0


def test_out_of_memory_no_group_takes_a_member(full: Raw) -> None:
    assert kind(full("EVAL", REGISTER.source, 1, "group", "member")) is OutOfMemory


# Other refusals ------------------------------------------------------------------------------------


def test_a_wrong_type_is_named(raw: Raw) -> None:
    raw("LPUSH", "list", "x")
    error = reply_error(str(raw("GET", "list")))
    assert isinstance(error, CommandFailed)
    assert error.code == "WRONGTYPE"


def test_log_ins_are_refused_for_good(server: Server, raw: Raw) -> None:
    assert kind(raw("HELLO", 9)) is EngineRefused
    raw("ACL", "SETUSER", "reader", "on", ">pass", "~*", "+get", "+hello")
    raw("CONFIG", "SET", "requirepass", "right")
    other = server.raw()
    assert kind(other("GET", "k")) is EngineRefused
    assert kind(other("HELLO", 3)) is EngineRefused
    assert kind(other("HELLO", 3, "AUTH", "default", "wrong")) is EngineRefused
    assert not isinstance(other("HELLO", 3, "AUTH", "reader", "pass"), Exception)
    assert other("GET", "k") is None
    assert kind(other("SET", "k", "1")) is EngineRefused


def test_a_changed_password_ends_no_connection(server: Server, raw: Raw) -> None:
    other = server.raw()
    raw("CONFIG", "SET", "requirepass", "new")
    assert other("GET", "k") is None


def test_a_replica_refuses_writes_for_now_and_answers_what_it_has(raw: Raw) -> None:
    raw("SET", "k", "v")
    raw("REPLICAOF", "127.0.0.1", 1)
    assert kind(raw("SET", "k", "w")) is NotNow
    assert raw("GET", "k") == b"v"
    raw("CONFIG", "SET", "replica-serve-stale-data", "no")
    assert kind(raw("GET", "k")) is NotNow


def test_too_few_replicas_refuse_writes_for_now(raw: Raw) -> None:
    raw("CONFIG", "SET", "min-replicas-to-write", 1)
    assert kind(raw("SET", "k", "v")) is NotNow


def test_a_script_that_does_not_end_keeps_others_off_for_now(server: Server, raw: Raw) -> None:
    raw("CONFIG", "SET", "lua-time-limit", 1)
    other = Tracked(server)
    other.send(("EVAL", "while true do end", 0))
    while not isinstance(reply := raw("GET", "k"), Exception):
        pass
    assert kind(reply) is NotNow
    assert raw("SCRIPT", "KILL") == b"OK"
    assert isinstance(other.receive(1)[0], Exception)
    assert raw("GET", "k") is None
    other.close()
