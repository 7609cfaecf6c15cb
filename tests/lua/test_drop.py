"""`drop.lua`: every branch, who is pushed what, and what a server answers that takes no writes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from greenroom.caching.drops import DROP
from greenroom.engine.protocol.errors import NotNow, reply_error
from greenroom.errors import EngineRefused
from tests.support.real_servers import Raw, Server
from tests.support.tracked_socket import Tracked

PREFIXES = ["", "a:", "p*[x]%s:"]


@pytest.fixture
def raw(server: Server) -> Iterator[Raw]:
    """A connection to the server."""
    connection = server.raw()
    yield connection
    connection.close()


def drop(raw: Raw | Tracked, *keys: str, prefix: str = "") -> Any:
    return raw("EVAL", DROP.source, len(keys), *keys, prefix)


@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize("there", ["key", "lease", "absent", "all", "none"])
def test_a_key_goes_with_whichever_companions_it_has(raw: Raw, prefix: str, there: str) -> None:
    names = {
        "key": f"{prefix}k:é:1",
        "lease": f"{prefix}lease:{{{prefix}k:é:1}}",
        "absent": f"{prefix}absent:{{{prefix}k:é:1}}",
    }
    for kind, name in names.items():
        if there in (kind, "all"):
            raw("SET", name, "1")
    raw("SET", "k", "another's")
    assert drop(raw, names["key"], prefix=prefix) == 1
    assert raw("KEYS", "*") == [b"k"]


def test_each_of_several_keys_is_dropped_and_no_other(raw: Raw) -> None:
    keys = [f"k{number}" for number in range(30)]
    raw("MSET", *(text for key in keys for text in (key, "v", f"lease:{{{key}}}", "l", f"absent:{{{key}}}", "a")))
    assert drop(raw, *keys[:20]) == 1
    left = {name for key in keys[20:] for name in (key, f"lease:{{{key}}}", f"absent:{{{key}}}")}
    assert {name.decode() for name in raw("KEYS", "*")} == left


@pytest.mark.parametrize("number", [0, 1, 4999, 5000, 5001, 12_345])
def test_any_number_of_keys_is_dropped(raw: Raw, number: int) -> None:
    keys = [f"k{one}" for one in range(number)]
    if keys:
        raw("MSET", *(text for key in keys for text in (key, "v", f"lease:{{{key}}}", "l")))
    assert drop(raw, *keys) == 1
    assert raw("DBSIZE") == 0


@pytest.mark.parametrize(
    "kind", [("LPUSH", "k", "v"), ("HSET", "k", "f", "v"), ("SADD", "k", "v")], ids=lambda one: one[0]
)
def test_a_value_of_another_type_is_dropped_too(raw: Raw, kind: tuple[str, ...]) -> None:
    raw(*kind)
    assert drop(raw, "k") == 1
    assert raw("DBSIZE") == 0


@pytest.mark.parametrize("name", ["k", "lease:{k}", "absent:{k}"])
def test_who_tracks_a_name_that_goes_is_pushed_it(server: Server, raw: Raw, name: str) -> None:
    tracked = Tracked(server)
    raw("SET", name, "1")
    tracked("GET", name)
    drop(raw, "other", "k")
    assert tracked.pushed() == [[name.encode()]]
    tracked.close()


def test_a_dropper_is_pushed_its_own_drop_before_its_next_reply(server: Server, raw: Raw) -> None:
    tracked = Tracked(server)
    raw("SET", "k", "1")
    tracked("GET", "k")
    assert drop(tracked, "k") == 1
    assert tracked.pushed() == [[b"k"]]
    tracked.close()


def test_out_of_memory_it_drops_all_the_same(raw: Raw) -> None:
    raw("MSET", "k", "v", "lease:{k}", "l")
    raw("CONFIG", "SET", "maxmemory-policy", "noeviction")
    raw("CONFIG", "SET", "maxmemory", 1)
    try:
        assert drop(raw, "k") == 1
        assert raw("DBSIZE") == 0
    finally:
        raw("CONFIG", "SET", "maxmemory", 0)


@pytest.mark.parametrize("exists", [True, False])
def test_a_read_only_server_refuses_it_whether_there_is_anything(raw: Raw, exists: bool) -> None:
    if exists:
        raw("SET", "k", "v")
    raw("REPLICAOF", "127.0.0.1", 1)
    try:
        error = reply_error(str(drop(raw, "k")))
        assert isinstance(error, NotNow)
        assert error.code == "READONLY"
        assert raw("EXISTS", "k") == exists
    finally:
        raw("REPLICAOF", "NO", "ONE")


def test_a_server_short_of_replicas_refuses_it(raw: Raw) -> None:
    raw("SET", "k", "v")
    raw("CONFIG", "SET", "min-replicas-to-write", 1)
    try:
        error = reply_error(str(drop(raw, "k")))
        assert isinstance(error, NotNow)
        assert error.code == "NOREPLICAS"
    finally:
        raw("CONFIG", "SET", "min-replicas-to-write", 0)


def test_a_script_that_may_not_drop_absences_has_dropped_the_leases(raw: Raw, server: Server) -> None:
    raw("MSET", "k", "v", "lease:{k}", "l", "absent:{k}", "a")
    raw("ACL", "SETUSER", "some", "on", "nopass", "~k", "~lease:*", "+@all")
    some = server.raw()
    some("AUTH", "some", "any")
    try:
        assert isinstance(reply_error(str(drop(some, "k"))), EngineRefused)
        assert raw("KEYS", "*") == [b"absent:{k}"]
    finally:
        some.close()
        raw("ACL", "DELUSER", "some")


def test_the_command_names_each_key_once_and_no_companion() -> None:
    assert DROP.call(("a", "b"), ("p",))[2:] == (2, "a", "b", "p")
