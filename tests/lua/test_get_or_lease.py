"""`get_or_lease.lua`, every branch: what it answers, what it leaves, and which pushes its caller gets from then on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from greenroom.caching.lease import ANOTHER_TYPE, GET_OR_LEASE, fingerprint
from tests.support.real_servers import Raw, Server
from tests.support.tracked_socket import Tracked

VALUE, LEASE, ABSENT = "k", "lease:{k}", "absent:{k}"
ALL = {VALUE, LEASE, ABSENT}
OURS, THEIRS = "a" * 32, "b" * 32


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


def ask(client: Raw | Tracked, token: str = OURS, refused: str = "", life_ms: int = 60_000) -> Any:
    return client("EVAL", GET_OR_LEASE.source, 3, VALUE, LEASE, ABSENT, token, life_ms, refused)


def watched(tracked: Tracked, raw: Raw) -> set[str]:
    """Those of the three keys whose change is pushed from now on."""
    tracked.pushed()
    for name in sorted(ALL):
        raw("SET", name, "changed")
    return {keys[0].decode() for keys in tracked.pushed()}


# A value -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [b"v", b"", b"\x00\xff"])
def test_a_value_is_answered_with_its_lifetime_and_no_lease_is_taken(tracked: Tracked, raw: Raw, value: bytes) -> None:
    raw("SET", VALUE, value, "PX", 60_000)
    kind, found, remaining = ask(tracked)
    assert (kind, found) == (b"value", value)
    assert 50_000 < remaining <= 60_000
    assert raw("EXISTS", LEASE) == 0
    assert watched(tracked, raw) == ALL


def test_a_value_without_lifetime_says_so(raw: Raw) -> None:
    raw("SET", VALUE, "v")
    assert ask(raw) == [b"value", b"v", -1]


def test_a_value_comes_before_an_absence_a_lease_and_a_failure(raw: Raw) -> None:
    raw("SET", ABSENT, "1", "PX", 30_000)
    raw("SET", LEASE, "failed:KeyError", "PX", 30_000)
    raw("SET", VALUE, "v")
    assert ask(raw) == [b"value", b"v", -1]


def test_a_value_other_than_the_refused_one_is_answered(raw: Raw) -> None:
    raw("SET", VALUE, "new")
    assert ask(raw, refused=fingerprint(b"old")) == [b"value", b"new", -1]
    assert raw("EXISTS", LEASE) == 0


# Leading -------------------------------------------------------------------------------------------


def test_who_finds_nothing_leads_with_a_lease_over_nothing(tracked: Tracked, raw: Raw) -> None:
    assert ask(tracked) == [b"lead"]
    assert raw("GET", LEASE) == f"{OURS}:".encode()
    assert 30_000 < raw("PTTL", LEASE) <= 60_000
    assert watched(tracked, raw) == ALL


def test_a_leader_is_told_when_its_lease_is_deleted_elsewhere(tracked: Tracked, raw: Raw) -> None:
    # Its own SET has ended its tracking of the lease: the read at the script's end began it again.
    ask(tracked)
    raw("DEL", VALUE, LEASE, ABSENT)
    assert tracked.pushed() == [[LEASE.encode()]]


@pytest.mark.parametrize("stale", [None, b"stale"])
def test_a_leader_is_not_pushed_its_own_lease(tracked: Tracked, raw: Raw, stale: bytes | None) -> None:
    # It would close the flight that has just begun to its own process's callers.
    if stale is not None:
        raw("SET", VALUE, stale)
    assert ask(tracked, refused=fingerprint(stale) if stale is not None else "") == [b"lead"]
    assert tracked.pushed() == []


def test_who_refuses_the_value_leads_over_it(tracked: Tracked, raw: Raw) -> None:
    raw("SET", VALUE, "stale")
    assert ask(tracked, refused=fingerprint(b"stale")) == [b"lead"]
    assert raw("GET", LEASE) == f"{OURS}:{fingerprint(b'stale')}".encode()
    assert raw("GET", VALUE) == b"stale"
    assert watched(tracked, raw) == ALL


@pytest.mark.parametrize("refused", ["", ANOTHER_TYPE, fingerprint(b"x")])
def test_a_value_of_another_type_is_leased_over(tracked: Tracked, raw: Raw, refused: str) -> None:
    raw("LPUSH", VALUE, "x")
    assert ask(tracked, refused=refused) == [b"lead"]
    assert raw("GET", LEASE) == f"{OURS}:{ANOTHER_TYPE}".encode()
    assert watched(tracked, raw) == ALL


def test_an_absence_does_not_hide_a_refused_value(raw: Raw) -> None:
    raw("SET", VALUE, "stale")
    raw("SET", ABSENT, "1", "PX", 30_000)
    assert ask(raw, refused=fingerprint(b"stale")) == [b"lead"]


def test_the_same_token_leads_again_and_its_lease_is_not_renewed(tracked: Tracked, raw: Raw) -> None:
    # A retry after a lost reply: it must not wait for itself, nor live longer for it.
    ask(tracked, life_ms=60_000)
    raw("PEXPIRE", LEASE, 30_000)
    assert ask(tracked, life_ms=60_000) == [b"lead"]
    assert 0 < raw("PTTL", LEASE) <= 30_000
    assert watched(tracked, raw) == ALL


def test_a_lapsed_lease_is_there_for_the_next(raw: Raw) -> None:
    ask(raw, THEIRS)
    raw("PEXPIRE", LEASE, 0)
    assert ask(raw) == [b"lead"]


# Holding back --------------------------------------------------------------------------------------


@pytest.mark.parametrize("stale", [None, b"stale"])
def test_who_comes_second_waits_for_the_rest_of_the_lease(tracked: Tracked, raw: Raw, stale: bytes | None) -> None:
    refused = fingerprint(stale) if stale is not None else ""
    if stale is not None:
        raw("SET", VALUE, stale)
    ask(raw, THEIRS, refused, life_ms=30_000)
    held = raw("GET", LEASE)
    kind, remaining = ask(tracked, OURS, refused, life_ms=60_000)
    assert kind == b"wait"
    assert 15_000 < remaining <= 30_000
    assert raw("GET", LEASE) == held
    assert watched(tracked, raw) == ALL


def test_a_waiter_is_woken_when_the_lease_lapses(tracked: Tracked) -> None:
    # In one transaction, in which no time passes: the lease does not lapse before it is waited for.
    *_, (_, asked) = tracked.together(
        ("MULTI",),
        ("SET", LEASE, f"{THEIRS}:", "PX", 50),
        ("EVAL", GET_OR_LEASE.source, 3, VALUE, LEASE, ABSENT, OURS, 60_000, ""),
        ("EXEC",),
    )
    assert asked[0] == b"wait"
    assert tracked.next_push() == [LEASE.encode()]


def test_a_remembered_absence_is_answered_with_what_is_left_of_it(tracked: Tracked, raw: Raw) -> None:
    raw("SET", ABSENT, "1", "PX", 30_000)
    kind, remaining = ask(tracked)
    assert kind == b"absent"
    assert 25_000 < remaining <= 30_000
    assert raw("EXISTS", LEASE) == 0
    assert watched(tracked, raw) == ALL


@pytest.mark.parametrize("stale", [None, b"stale"])
def test_a_failure_holds_everyone_back_with_its_kind_and_what_is_left(
    tracked: Tracked, raw: Raw, stale: bytes | None
) -> None:
    if stale is not None:
        raw("SET", VALUE, stale)
    raw("SET", LEASE, "failed:KeyError", "PX", 30_000)
    kind, error, remaining = ask(tracked, refused=fingerprint(stale) if stale is not None else "")
    assert (kind, error) == (b"failed", b"KeyError")
    assert 0 < remaining <= 30_000
    assert raw("GET", LEASE) == b"failed:KeyError"
    assert watched(tracked, raw) == ALL


def test_an_absence_comes_before_a_failure(raw: Raw) -> None:
    raw("SET", ABSENT, "1", "PX", 30_000)
    raw("SET", LEASE, "failed:KeyError", "PX", 30_000)
    assert ask(raw)[0] == b"absent"
