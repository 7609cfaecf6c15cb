"""Which entity tags match, and how an outcome is written in `Cache-Status`."""

from __future__ import annotations

from typing import Any

import pytest

from greenroom.caching import CacheResult, Outcome
from greenroom.integrations.conditional import cache_status, matches

TAG = '"0123456789abcdef01234567"'


@pytest.mark.parametrize(
    "lines",
    [
        [TAG],
        [f"W/{TAG}"],
        ["*"],
        [" * "],
        [f'"other", {TAG}'],
        [f'"other",{TAG},W/"third"'],
        [f'W/"other" ,\tW/{TAG}'],
        ['"other"', TAG],
        [f'"with, comma", {TAG}'],
    ],
)
def test_a_tag_is_found_in_every_form(lines: list[str]) -> None:
    assert matches(lines, TAG)


@pytest.mark.parametrize(
    "lines",
    [
        [],
        [""],
        ['"other"'],
        [TAG.strip('"')],
        [TAG.upper()],
        [TAG[:-1]],
        [f'"x{TAG[1:]}'],
        ['"*"'],
        ['"other", *'],
        [f'"{TAG[1:12]}", "{TAG[12:]}'],
    ],
)
def test_another_tag_is_not_taken_for_it(lines: list[str]) -> None:
    assert not matches(lines, TAG)


@pytest.mark.parametrize(
    ("outcome", "stored", "ttl", "text"),
    [
        (Outcome.NEAR, False, None, "hit; detail=near"),
        (Outcome.HIT, False, 899.2, "hit; ttl=900"),
        (Outcome.HIT, False, 0.2, "hit; ttl=1"),
        (Outcome.HIT, False, None, "hit"),
        (Outcome.STALE, False, -0.2, "hit; ttl=-1; detail=stale"),
        (Outcome.STALE, False, 0.0, "hit; ttl=-1; detail=stale"),
        (Outcome.STALE, False, -30.0, "hit; ttl=-30; detail=stale"),
        (Outcome.LOADED, True, None, "fwd=miss; stored"),
        (Outcome.LOADED, False, None, "fwd=miss"),
        (Outcome.SHARED, True, None, "fwd=miss; collapsed"),
        (Outcome.SHARED, False, None, "fwd=miss; collapsed"),
        (Outcome.BYPASSED, False, None, "fwd=bypass; detail=engine-down"),
    ],
)
def test_every_outcome_has_its_words(outcome: Outcome, stored: bool, ttl: float | None, text: str) -> None:
    read: CacheResult[Any] = CacheResult(None, None, outcome, stored=stored, ttl=ttl)
    assert cache_status(read) == f"greenroom; {text}"


@pytest.mark.parametrize("now", [0.0, 4000.1, 7500.1, 8000.3, 123456.7])
def test_whole_seconds_are_not_one_more_for_how_long_the_machine_is_up(now: float) -> None:
    left = (now + 1000.0) - now
    assert cache_status(CacheResult(None, None, Outcome.HIT, ttl=left)) == "greenroom; hit; ttl=1000"
