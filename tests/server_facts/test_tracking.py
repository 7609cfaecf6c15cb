"""What servers push to a tracked connection: the facts that the near cache and the waiters stand on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.patience import wait_for
from tests.support.real_servers import Raw, Server
from tests.support.tracked_socket import Tracked

Command = tuple[str | bytes | int, ...]


@pytest.fixture
def tracked(server: Server) -> Iterator[Tracked]:
    """A connection as the engine's tracked one."""
    connection = Tracked(server)
    yield connection
    connection.close()


@pytest.fixture
def raw(server: Server) -> Iterator[Raw]:
    """Somebody else's connection."""
    connection = server.raw()
    yield connection
    connection.close()


# What is tracked -----------------------------------------------------------------------------------


READS: dict[str, Command] = {
    "GET": ("GET", "k"),
    "MGET": ("MGET", "k"),
    "EXISTS": ("EXISTS", "k"),
    "PTTL": ("PTTL", "k"),
    "a script's GET": ("EVAL", "return redis.call('GET', KEYS[1])", 1, "k"),
    "a script's PTTL": ("EVAL", "return redis.call('PTTL', KEYS[1])", 1, "k"),
    "a script's EXISTS": ("EVAL", "return redis.call('EXISTS', KEYS[1])", 1, "k"),
}


@pytest.mark.parametrize("read", READS.values(), ids=READS)
@pytest.mark.parametrize("there", [True, False], ids=["there", "missing"])
def test_a_key_once_read_is_pushed_when_it_changes_even_if_missing(
    tracked: Tracked, raw: Raw, read: Command, there: bool
) -> None:
    if there:
        raw("SET", "k", "1")
    tracked(*read)
    raw("SET", "k", "2")
    assert tracked.pushed() == [[b"k"]]


def test_a_script_run_by_its_hash_tracks_what_it_reads(tracked: Tracked, raw: Raw) -> None:
    sha = raw("SCRIPT", "LOAD", "return {redis.call('GET', KEYS[1]), redis.call('PTTL', KEYS[2])}")
    tracked("EVALSHA", sha, 2, "a", "b")
    raw("SET", "b", "1")
    raw("SET", "a", "1")
    assert tracked.pushed() == [[b"b"], [b"a"]]


@pytest.mark.parametrize("options", [(), ("PX", 50_000), ("PERSIST",)], ids=["bare", "PX", "PERSIST"])
def test_getex_never_tracks(tracked: Tracked, raw: Raw, options: Command) -> None:
    raw("SET", "k", "1", "PX", 90_000)
    assert tracked("GETEX", "k", *options) == b"1"
    raw("SET", "k", "2")
    assert tracked.pushed() == []


def test_a_push_comes_once_and_then_only_after_another_read(tracked: Tracked, raw: Raw) -> None:
    tracked("GET", "k")
    raw("SET", "k", "1")
    raw("SET", "k", "2")
    assert tracked.pushed() == [[b"k"]]
    tracked("GET", "k")
    raw("SET", "k", "3")
    assert tracked.pushed() == [[b"k"]]


# What is pushed ------------------------------------------------------------------------------------


WRITES: dict[str, Command] = {
    "SET": ("SET", "k", "2"),
    "SET of the same": ("SET", "k", "1"),
    "DEL": ("DEL", "k"),
    "UNLINK": ("UNLINK", "k"),
    "RENAME": ("RENAME", "k", "other"),
    "a script's SET": ("EVAL", "return redis.call('SET', KEYS[1], '2')", 1, "k"),
    "PEXPIRE": ("PEXPIRE", "k", 60_000),
    "PEXPIRE LT": ("PEXPIRE", "k", 60_000, "LT"),
    "PEXPIREAT": ("PEXPIREAT", "k", 9_999_999_999_999),
    "EXPIRE": ("EXPIRE", "k", 60),
    "PERSIST": ("PERSIST", "k"),
    "GETEX PX": ("GETEX", "k", "PX", 60_000),
    "SET KEEPTTL": ("SET", "k", "2", "KEEPTTL"),
}


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
def test_every_change_of_value_or_lifetime_is_pushed(tracked: Tracked, raw: Raw, write: Command) -> None:
    raw("SET", "k", "1", "PX", 90_000)
    tracked("GET", "k")
    raw(*write)
    assert tracked.pushed() == [[b"k"]]


NOTHING: dict[str, Command] = {
    "DEL of a missing key": ("DEL", "missing"),
    "SET NX of what is there": ("SET", "k", "2", "NX"),
    "PEXPIRE LT over a shorter lifetime": ("PEXPIRE", "k", 95_000, "LT"),
}


@pytest.mark.parametrize("write", NOTHING.values(), ids=NOTHING)
def test_a_write_that_changes_nothing_pushes_nothing(tracked: Tracked, raw: Raw, write: Command) -> None:
    # So a foreign DEL of a key that is being loaded is invisible to its lease: writers delete the lease as well.
    raw("SET", "k", "1", "PX", 90_000)
    tracked.together(("GET", "k"), ("GET", "missing"))
    raw(*write)
    assert tracked.pushed() == []


def test_one_del_of_several_keys_pushes_each_of_those_that_were_there(tracked: Tracked, raw: Raw) -> None:
    raw("MSET", "k", "1", "lease:{k}", "1")
    tracked.together(("GET", "k"), ("GET", "lease:{k}"), ("GET", "absent:{k}"))
    assert raw("DEL", "k", "lease:{k}", "absent:{k}") == 2
    assert tracked.pushed() == [[b"k"], [b"lease:{k}"]]


def test_nobody_sees_half_of_a_del_of_several_keys(server: Server, tracked: Tracked, raw: Raw) -> None:
    names = [f"k{n}" for n in range(500)]
    reader = Tracked(server)
    try:
        for _ in range(20):
            raw("MSET", *(one for name in names for one in (name, "1")))
            tracked.send(("DEL", *names))
            reader.send(("EXISTS", *names))  # races with it
            assert reader.receive(1)[0] in (0, len(names))
            assert tracked.receive(1) == [len(names)]
    finally:
        reader.close()


def test_a_key_that_lapses_is_pushed_by_itself(tracked: Tracked, raw: Raw) -> None:
    raw("SET", "k", "1", "PX", 500)
    assert tracked("GET", "k") == b"1"
    assert tracked.next_push() == [b"k"]


def test_a_read_of_a_lapsed_key_is_pushed_after_its_reply_and_tracks(tracked: Tracked, raw: Raw) -> None:
    # So a waiter may be woken once for nothing, and what comes under the key next is pushed.
    raw("SET", "k", "1", "PX", 500)
    while tracked("GET", "k") is not None:
        pass
    assert tracked.pushed() == [[b"k"]]
    raw("SET", "k", "2")
    assert tracked.pushed() == [[b"k"]]


@pytest.mark.parametrize("flush", ["FLUSHALL", "FLUSHDB"])
def test_a_flush_is_a_push_without_keys(tracked: Tracked, raw: Raw, flush: str) -> None:
    raw("SET", "k", "1")
    tracked("GET", "k")
    raw(flush)
    assert tracked.pushed() == [None]


def test_a_flush_of_another_database_is_pushed_too(tracked: Tracked, raw: Raw) -> None:
    tracked("GET", "k")
    raw("SELECT", 1)
    raw("FLUSHDB")
    assert tracked.pushed() == [None]


def test_an_evicted_key_is_pushed(tracked: Tracked, raw: Raw) -> None:
    raw("SET", "k", "1", "PX", 90_000)
    tracked("GET", "k")
    raw("CONFIG", "SET", "maxmemory-policy", "volatile-lru")
    raw("CONFIG", "SET", "maxmemory", 1)
    raw("SET", "other", "1")  # what may be evicted goes before this is refused
    assert raw("EXISTS", "k") == 0
    assert tracked.pushed() == [[b"k"]]


def test_a_tracked_key_that_the_server_no_longer_remembers_is_pushed(tracked: Tracked, raw: Raw) -> None:
    raw("CONFIG", "SET", "tracking-table-max-keys", 10)
    tracked.together(*(("GET", f"k{n}") for n in range(1000)))
    # Forgetting goes on behind; the table never stays above its bound for long, and what left it was pushed.
    pushed: list[Any] = []

    def small() -> bool:
        pushed.extend(tracked.pushed())
        tracked("GET", "k0")
        return len(pushed) >= 980

    wait_for(small)
    assert all(len(one) == 1 and one[0].startswith(b"k") for one in pushed)


# Own writes ----------------------------------------------------------------------------------------


def test_an_own_write_is_answered_first_and_then_pushed(tracked: Tracked) -> None:
    tracked("GET", "k")
    tracked.seen.clear()
    tracked.together(("SET", "k", "1"), ("GET", "k"), ("DEL", "k"), ("PING",))
    push = "push", [b"k"]
    assert tracked.seen == [("reply", b"OK"), push, ("reply", b"1"), ("reply", 1), push, ("reply", b"PONG")]


def test_an_own_script_is_answered_first_and_then_pushed(tracked: Tracked) -> None:
    tracked("GET", "k")
    tracked.seen.clear()
    tracked.together(("EVAL", "return redis.call('SET', KEYS[1], '1')", 1, "k"), ("PING",))
    assert tracked.seen == [("reply", b"OK"), ("push", [b"k"]), ("reply", b"PONG")]


def test_an_own_write_ends_the_tracking_of_its_key(tracked: Tracked, raw: Raw) -> None:
    tracked("GET", "k")
    tracked("SET", "k", "1")
    assert tracked.pushed() == [[b"k"]]
    raw("SET", "k", "2")
    assert tracked.pushed() == []


def test_a_script_s_own_set_untracks_and_a_read_after_it_tracks_again(tracked: Tracked, raw: Raw) -> None:
    tracked("EVAL", "redis.call('GET', KEYS[1]) redis.call('SET', KEYS[1], '1')", 1, "set")
    tracked("EVAL", "redis.call('SET', KEYS[1], '1') redis.call('GET', KEYS[1])", 1, "set and get")
    tracked.pushed()
    raw("DEL", "set")
    raw("DEL", "set and get")
    assert tracked.pushed() == [[b"set and get"]]


def test_with_noloop_an_own_write_would_lose_the_next_writer_s_push(server: Server, raw: Raw) -> None:
    # Why the engine never asks for NOLOOP: no push of its own write, and none of the next one either.
    tracked = Tracked(server, "NOLOOP")
    try:
        tracked("GET", "k")
        tracked("SET", "k", "1")
        raw("SET", "k", "2")
        assert tracked.pushed() == []
    finally:
        tracked.close()


# Order ---------------------------------------------------------------------------------------------


def test_no_reply_shows_a_change_whose_push_was_not_read_before_it(server: Server, tracked: Tracked) -> None:
    writer = Tracked(server)
    try:
        for number in range(300):
            writer.send(("SET", "k", number))  # races with the reads
            tracked.together(*(("GET", "k"),) * 5)
            writer.receive(1)
    finally:
        writer.close()
    known: Any = None
    pushes = 0
    for kind, value in tracked.seen:
        if kind == "push":
            pushes, known = pushes + 1, None
        else:
            assert known in (None, value), "a value changed without a push before it"
            known = value
    assert pushes > 100
