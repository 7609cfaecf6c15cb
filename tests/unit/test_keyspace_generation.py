"""What a process makes of the generations that it hears of, in whatever order the answers of several nodes come."""

from __future__ import annotations

from datetime import timedelta

import pytest

from greenroom.caching.generation import SLACK, KeyspaceGeneration
from greenroom.keyspace import Keyspace
from greenroom.testing.clock import ManualClock

TTL = 60.0
KEYSPACE: Keyspace[str] = Keyspace("cache:episode:{episode_id}", str, ttl=timedelta(seconds=TTL))
OLD, NEW = "1700000000000000-0a", "1700000000000001-0b"


class Known:
    """A generation, and how often what this process has of the keyspace was dropped."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.dropped = 0
        self.generation = KeyspaceGeneration(KEYSPACE, (), self.clock, self._forget)

    def _forget(self) -> None:
        self.dropped += 1


@pytest.mark.parametrize("late", [OLD, NEW, "1700000000000001-0c"], ids=["older", "the same", "of the same moment"])
def test_an_answer_that_comes_late_takes_no_newer_generation_back(late: str) -> None:
    """Prevents: two nodes are asked · one tells of a drop · the other's answer is of before it."""
    known = Known()
    known.generation.adopt(NEW)
    known.generation.adopt(late)
    assert (known.generation.current, known.dropped) == (NEW, 1)


@pytest.mark.parametrize("foreign", ["", "planet", "17-", "17-0x", "-0a", "1" * 17 + "-0a", "17-0a\n"])
def test_what_is_no_generation_is_not_heard_of(foreign: str) -> None:
    known = Known()
    known.generation.adopt(foreign)
    assert (known.generation.current, known.generation.checks(), known.dropped) == ("", False, 0)


def test_a_generation_that_is_heard_of_late_is_looked_at_for_what_is_left() -> None:
    known = Known()
    known.generation.adopt(NEW, age=TTL)
    assert known.generation.checks()
    known.clock.advance(SLACK)
    assert not known.generation.checks()
    assert known.generation.marks()
    known.clock.advance(TTL + SLACK)
    assert not known.generation.marks()


def test_a_clock_of_the_server_that_is_behind_makes_no_longer_window() -> None:
    known = Known()
    known.generation.adopt(NEW, age=-3600.0)
    known.clock.advance(TTL + SLACK)
    assert not known.generation.checks()
