"""The addresses that are answered before the router: admitted at the second near hit, bounded, first in first out."""

from __future__ import annotations

from typing import Any

import pytest

from greenroom.caching import CacheResult, Outcome
from greenroom.caching.near import Entry
from greenroom_platform.http.near_answers import LONGEST, FinishedAnswer, KnownAddresses

ANSWER = FinishedAnswer('"a"', [], [], b"{}")


class Cached:
    """In place of a cache: it notes what it shall forget."""

    def __init__(self) -> None:
        self.detached: list[str] = []

    def detach(self, key: str) -> None:
        self.detached.append(key)


@pytest.fixture
def cache() -> Any:
    return Cached()


def read_of(key: str, outcome: Outcome = Outcome.NEAR, body: bytes | None = b"{}") -> CacheResult[Any]:
    entry = Entry(key, None, body, 0.0, 0.0, 0.0, None)
    return CacheResult(None, body, outcome, entry=entry)


def keep(known: KnownAddresses, cache: Any, path: str, read: CacheResult[Any] | None = None) -> None:
    scope = {"raw_path": path.encode(), "query_string": b"", "path_template": "/a"}
    known.keep(scope, cache, read or read_of(path), ANSWER)


def holds(known: KnownAddresses, path: str) -> bool:
    return known.get((path.encode(), b"")) is not None


def test_an_address_is_known_from_its_second_near_hit_on(cache: Any) -> None:
    known = KnownAddresses()
    first, second = read_of("k"), read_of("k")
    keep(known, cache, "/a", first)
    assert (holds(known, "/a"), first.entry and first.entry.attached) == (False, None)
    keep(known, cache, "/a", second)
    assert (holds(known, "/a"), second.entry and second.entry.attached) == (True, ANSWER)


def test_a_known_address_s_next_entry_has_the_answer_at_once(cache: Any) -> None:
    known, later = KnownAddresses(), read_of("k")
    for read in (read_of("k"), read_of("k"), later):
        keep(known, cache, "/a", read)
    assert later.entry is not None
    assert later.entry.attached is ANSWER


@pytest.mark.parametrize("outcome", [one for one in Outcome if one is not Outcome.NEAR])
def test_only_near_hits_are_remembered(cache: Any, outcome: Outcome) -> None:
    known = KnownAddresses()
    for _ in range(3):
        keep(known, cache, "/a", read_of("k", outcome))
    assert not holds(known, "/a")


def test_an_absence_is_not_remembered(cache: Any) -> None:
    known = KnownAddresses()
    for _ in range(3):
        keep(known, cache, "/a", read_of("k", body=None))
    assert not holds(known, "/a")


def test_the_oldest_address_goes_first_and_its_answer_with_it(cache: Any) -> None:
    known = KnownAddresses(2)
    for path in ("/a", "/b", "/a", "/b", "/c", "/c"):
        keep(known, cache, path)
    assert [holds(known, path) for path in ("/a", "/b", "/c")] == [False, True, True]
    assert cache.detached == ["/a"]


def test_addresses_asked_for_once_are_bounded_too(cache: Any) -> None:
    known = KnownAddresses(10)
    for number in range(1000):
        keep(known, cache, f"/{number}")
    assert (len(known), len(known._once)) == (0, 10)


def test_a_long_address_is_never_remembered(cache: Any) -> None:
    known = KnownAddresses()
    for path in ("/" * LONGEST, "/" * (LONGEST + 1)):
        keep(known, cache, path)
        keep(known, cache, path)
    assert [holds(known, "/" * length) for length in (LONGEST, LONGEST + 1)] == [True, False]
    assert not known._once
