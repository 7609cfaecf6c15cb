"""`fill.lua`, `fill_absence.lua` and `release.lua`, every branch: who may store under a lease, and what is left."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from greenroom.caching.lease import ANOTHER_TYPE, FILL, FILL_ABSENCE, GET_OR_LEASE, fingerprint
from greenroom.caching.releases import RELEASE
from tests.support.real_servers import Raw, Server

VALUE, LEASE, ABSENT = "k", "lease:{k}", "absent:{k}"
OURS, THEIRS = "a" * 32, "b" * 32

Fill = Callable[..., Any]


@pytest.fixture
def raw(server: Server) -> Iterator[Raw]:
    """A connection to the server."""
    connection = server.raw()
    yield connection
    connection.close()


@pytest.fixture(params=[FILL, FILL_ABSENCE], ids=["fill", "fill_absence"])
def fill(request: pytest.FixtureRequest, raw: Raw) -> Fill:
    """Either way to end a load: with a value `new`, or with nothing."""
    if request.param is FILL:
        return lambda token=OURS: fill_value(raw, token)
    return lambda token=OURS: fill_absence(raw, token)


def lease(raw: Raw, token: str = OURS, refused: str = "") -> None:
    assert raw("EVAL", GET_OR_LEASE.source, 3, VALUE, LEASE, ABSENT, token, 60_000, refused) == [b"lead"]


def fill_value(raw: Raw, token: str = OURS) -> Any:
    return raw("EVAL", FILL.source, 3, VALUE, LEASE, ABSENT, token, b"new", 60_000)


def fill_absence(raw: Raw, token: str = OURS) -> Any:
    return raw("EVAL", FILL_ABSENCE.source, 3, VALUE, LEASE, ABSENT, token, 30_000)


def release(raw: Raw, token: str = OURS, kind: str = "", backoff_ms: int = 0) -> Any:
    return raw("EVAL", RELEASE.source, 1, LEASE, token, kind, backoff_ms)


# What is stored ------------------------------------------------------------------------------------


def test_a_fill_stores_the_value_and_ends_lease_and_absence(raw: Raw) -> None:
    lease(raw)
    raw("SET", ABSENT, "1", "PX", 30_000)
    assert fill_value(raw) == 1
    assert raw("GET", VALUE) == b"new"
    assert 30_000 < raw("PTTL", VALUE) <= 60_000
    assert raw("EXISTS", LEASE, ABSENT) == 0


def test_a_fill_of_nothing_remembers_the_absence_and_ends_the_lease(raw: Raw) -> None:
    lease(raw)
    assert fill_absence(raw) == 1
    assert raw("EXISTS", VALUE, LEASE) == 0
    assert 25_000 < raw("PTTL", ABSENT) <= 30_000


def test_a_refresh_replaces_the_value_that_it_was_leased_over(raw: Raw) -> None:
    raw("SET", VALUE, "stale", "PX", 30_000)
    lease(raw, refused=fingerprint(b"stale"))
    assert fill_value(raw) == 1
    assert raw("GET", VALUE) == b"new"
    assert raw("PTTL", VALUE) > 30_000


def test_a_refresh_that_finds_nothing_deletes_the_value(raw: Raw) -> None:
    raw("SET", VALUE, "stale")
    lease(raw, refused=fingerprint(b"stale"))
    assert fill_absence(raw) == 1
    assert raw("EXISTS", VALUE) == 0
    assert raw("EXISTS", ABSENT) == 1


def test_a_value_of_another_type_is_replaced(raw: Raw) -> None:
    raw("LPUSH", VALUE, "x")
    lease(raw, refused=ANOTHER_TYPE)
    assert fill_value(raw) == 1
    assert raw("GET", VALUE) == b"new"


def test_a_value_of_another_type_is_deleted_where_the_record_has_nothing(raw: Raw) -> None:
    raw("LPUSH", VALUE, "x")
    lease(raw, refused=ANOTHER_TYPE)
    assert fill_absence(raw) == 1
    assert raw("EXISTS", VALUE) == 0


# What is refused -----------------------------------------------------------------------------------


def test_without_a_lease_nothing_is_stored(raw: Raw, fill: Fill) -> None:
    lease(raw)
    raw("DEL", VALUE, LEASE, ABSENT)  # an invalidation
    assert fill() == 0
    assert raw("DBSIZE") == 0


def test_under_another_s_lease_nothing_is_stored_and_the_lease_stays(raw: Raw, fill: Fill) -> None:
    lease(raw)
    raw("DEL", VALUE, LEASE, ABSENT)
    lease(raw, THEIRS)
    assert fill() == 0
    assert raw("KEYS", "*") == [LEASE.encode()]
    assert fill(THEIRS) == 1


def test_after_a_failure_nothing_is_stored(raw: Raw, fill: Fill) -> None:
    raw("SET", LEASE, "failed:KeyError")
    assert fill() == 0
    assert raw("KEYS", "*") == [LEASE.encode()]


def test_a_second_fill_under_one_lease_is_refused(raw: Raw, fill: Fill) -> None:
    lease(raw)
    assert fill() == 1
    assert fill() == 0


FOREIGN: list[tuple[bytes | None, tuple[str, ...]]] = [
    (None, ("SET", VALUE, "theirs")),
    (None, ("LPUSH", VALUE, "theirs")),
    (b"stale", ("SET", VALUE, "theirs")),
    (b"stale", ("DEL", VALUE)),
]


@pytest.mark.parametrize(("stale", "write"), FOREIGN)
def test_a_foreign_write_since_the_lease_stays_and_the_lease_ends(
    raw: Raw, fill: Fill, stale: bytes | None, write: tuple[str, ...]
) -> None:
    if stale is not None:
        raw("SET", VALUE, stale)
    lease(raw, refused=fingerprint(stale) if stale is not None else "")
    raw("DEL", VALUE)  # or the list could not be pushed
    raw(*write)
    left = raw("DUMP", VALUE)
    assert fill() == 0
    assert raw("DUMP", VALUE) == left
    assert raw("EXISTS", LEASE, ABSENT) == 0


# Giving the lease back -----------------------------------------------------------------------------


def test_a_released_lease_is_gone(raw: Raw) -> None:
    lease(raw)
    assert release(raw) == 1
    assert raw("EXISTS", LEASE) == 0


def test_a_failure_is_left_in_the_lease_s_place_for_the_back_off(raw: Raw) -> None:
    lease(raw)
    assert release(raw, kind="KeyError", backoff_ms=30_000) == 1
    assert raw("GET", LEASE) == b"failed:KeyError"
    assert 0 < raw("PTTL", LEASE) <= 30_000


@pytest.mark.parametrize("kind", ["", "KeyError"])
@pytest.mark.parametrize("left", [None, f"{THEIRS}:", "failed:ValueError"])
def test_what_is_not_ours_is_not_released(raw: Raw, kind: str, left: str | None) -> None:
    if left is not None:
        raw("SET", LEASE, left)
    assert release(raw, kind=kind, backoff_ms=1000) == 0
    assert raw("GET", LEASE) == (left.encode() if left is not None else None)
