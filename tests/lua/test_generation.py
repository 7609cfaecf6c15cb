"""`generation.lua`, and what the scripts of a load make of it: the greater stays, and what is older counts as none."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from greenroom.caching.keyspace_drops import GENERATION
from greenroom.caching.lease import FILL, FILL_ABSENCE, GET_OR_LEASE
from tests.support.real_servers import Raw, Server
from tests.support.tracked_socket import Tracked

NAME = "greenroom:generation:{k}"
VALUE, LEASE, ABSENT, MARK = "k", "lease:{k}", "absent:{k}", "greenroom:mark:{k}"
OURS, THEIRS = "a" * 32, "b" * 32
OLD, NEW = "1700000000000000-0a", "1700000000000001-0b"
FUTURE = "9000000000000000-ff"


@pytest.fixture
def raw(server: Server) -> Iterator[Raw]:
    connection = server.raw()
    yield connection
    connection.close()


def generation(client: Raw | Tracked, known: str = "", random: str = "") -> Any:
    return client("EVAL", GENERATION.source, 1, NAME, known, random)


def ask(client: Raw, known: str, *, marked: bool, token: str = OURS) -> Any:
    keys = (VALUE, LEASE, ABSENT, MARK) if marked else (VALUE, LEASE, ABSENT)
    return client("EVAL", GET_OR_LEASE.source, len(keys), *keys, token, 60_000, "", known)


def fill(client: Raw, body: str, *, marked: bool) -> Any:
    keys = (VALUE, LEASE, ABSENT, MARK) if marked else (VALUE, LEASE, ABSENT)
    return client("EVAL", FILL.source, len(keys), *keys, OURS, body, 60_000)


# The generation ------------------------------------------------------------------------------------


def test_nothing_is_written_where_nothing_is_known(raw: Raw) -> None:
    greatest, now = generation(raw)
    assert (greatest, raw("EXISTS", NAME)) == (b"", 0)
    seconds, micros = raw("TIME")
    assert 0 <= int(seconds) * 1_000_000 + int(micros) - now < 60_000_000


@pytest.mark.parametrize(
    ("stored", "known", "greatest"), [(OLD, NEW, NEW), (NEW, OLD, NEW), (NEW, "", NEW), ("", OLD, OLD)]
)
def test_the_greater_of_stored_and_known_stays_and_is_answered(
    raw: Raw, stored: str, known: str, greatest: str
) -> None:
    if stored:
        raw("SET", NAME, stored)
    assert generation(raw, known)[0] == raw("GET", NAME) == greatest.encode()
    assert raw("PTTL", NAME) == -1


@pytest.mark.parametrize("where", ["stored", "known"])
def test_a_new_one_is_greater_than_all_known_whatever_the_clock(raw: Raw, where: str) -> None:
    """Prevents: the clock is set back by an hour · a drop begins a generation that every process takes for old."""
    if where == "stored":
        raw("SET", NAME, FUTURE)
    (new, _) = generation(raw, FUTURE if where == "known" else "", "0c")
    assert new == raw("GET", NAME) == b"9000000000000001-0c"


def test_a_new_one_is_of_the_server_s_time_and_ends_in_the_given_digits(raw: Raw) -> None:
    new, now = generation(raw, OLD, "0c")
    assert new == b"%d-0c" % now


@pytest.mark.parametrize(
    "foreign",
    [
        ("SET", NAME, "planet"),
        ("SET", NAME, ""),
        ("RPUSH", NAME, "x"),
        ("SET", NAME, "99-"),
        ("SET", NAME, f"{10**16}-ff"),
    ],
)
def test_what_another_program_has_put_there_is_no_generation(raw: Raw, foreign: tuple[str, ...]) -> None:
    raw(*foreign)
    assert generation(raw)[0] == b""
    assert generation(raw, OLD)[0] == raw("GET", NAME) == OLD.encode()


@pytest.mark.parametrize("random", ["", "0c"])
def test_the_caller_is_told_of_the_next_change_and_not_only_of_its_own(server: Server, raw: Raw, random: str) -> None:
    tracked = Tracked(server)
    generation(tracked, OLD, random)
    tracked.pushed()
    raw("SET", NAME, FUTURE)
    assert tracked.pushed() == [[NAME.encode()]]
    tracked.close()


def test_a_server_without_memory_begins_none_and_still_answers_what_it_has(raw: Raw) -> None:
    raw("SET", NAME, OLD)
    raw("CONFIG", "SET", "maxmemory", "1")
    assert "OOM" in str(generation(raw, "", "0c"))
    assert generation(raw, NEW)[0] == NEW.encode()  # known to the caller, though it cannot be kept
    assert raw("GET", NAME) == OLD.encode()
    raw("CONFIG", "SET", "maxmemory", "0")


# Values --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mark", [None, OLD, ("RPUSH", MARK, "x")], ids=["none", "older", "another type"])
def test_a_value_without_the_current_mark_is_leased_over(raw: Raw, mark: Any) -> None:
    raw("SET", VALUE, "old", "PX", 60_000)
    if mark is not None:
        raw(*(mark if isinstance(mark, tuple) else ("SET", MARK, mark)))
    assert ask(raw, NEW, marked=True) == [b"lead"]
    assert fill(raw, "new", marked=True) == 1
    assert (raw("GET", VALUE), raw("GET", MARK)) == (b"new", NEW.encode())
    # By one script, in which no time passes.
    left, mark_left = raw("EVAL", "return {redis.call('PTTL', KEYS[1]), redis.call('PTTL', KEYS[2])}", 2, VALUE, MARK)
    assert 0 < left - mark_left + 1000 <= 2000


def test_a_value_with_the_current_mark_is_answered(raw: Raw) -> None:
    raw("SET", VALUE, "new", "PX", 60_000)
    raw("SET", MARK, NEW)
    assert ask(raw, NEW, marked=True)[:2] == [b"value", b"new"]


def test_where_no_marks_are_looked_at_every_value_is_answered(raw: Raw) -> None:
    raw("SET", VALUE, "any", "PX", 60_000)
    raw("SET", MARK, OLD)
    assert ask(raw, NEW, marked=False)[:2] == [b"value", b"any"]


def test_an_absence_counts_by_the_generation_in_it(raw: Raw) -> None:
    ask(raw, OLD, marked=True)
    assert raw("EVAL", FILL_ABSENCE.source, 3, VALUE, LEASE, ABSENT, OURS, 30_000) == 1
    assert raw("GET", ABSENT) == OLD.encode()
    assert ask(raw, OLD, marked=True)[0] == ask(raw, NEW, marked=False)[0] == b"absent"
    assert ask(raw, NEW, marked=True) == [b"lead"]


# Leases --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("older", ["", OLD])
def test_a_lease_of_an_older_generation_counts_as_none_and_stores_nothing(raw: Raw, older: str) -> None:
    assert ask(raw, older, marked=False, token=OURS) == [b"lead"]
    assert ask(raw, NEW, marked=True, token=THEIRS) == [b"lead"]
    assert fill(raw, "old", marked=False) == 0
    assert raw("EXISTS", VALUE) == 0


def test_a_lease_of_a_newer_generation_is_told_and_left(raw: Raw) -> None:
    ask(raw, NEW, marked=True, token=THEIRS)
    for known in ("", OLD):
        assert ask(raw, known, marked=False) == [b"newer", NEW.encode()]
    assert raw("GET", LEASE) == f"{THEIRS}::{NEW}".encode()
    assert ask(raw, NEW, marked=True)[0] == b"wait"


def test_one_s_own_lease_of_an_older_generation_is_taken_anew(raw: Raw) -> None:
    ask(raw, OLD, marked=False)
    assert ask(raw, NEW, marked=True) == [b"lead"]
    assert raw("GET", LEASE) == f"{OURS}::{NEW}".encode()


def test_a_fill_is_marked_by_its_lease_and_not_by_what_is_known_since(raw: Raw) -> None:
    ask(raw, OLD, marked=False)
    assert fill(raw, "old", marked=True) == 1
    assert raw("GET", MARK) == OLD.encode()
    assert ask(raw, NEW, marked=True) == [b"lead"]


def test_a_fill_under_a_lease_without_generation_leaves_no_mark(raw: Raw) -> None:
    ask(raw, "", marked=False)
    assert fill(raw, "old", marked=True) == 1
    assert raw("EXISTS", MARK) == 0
