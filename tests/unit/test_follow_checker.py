"""The judge of followers, on histories made by hand: each promise just kept, and just broken."""

from __future__ import annotations

from torture.checker import Violation
from torture.follow_checker import AT_ONCE, check_follows
from torture.history import Drop, Event, Fault, Write
from torture.podcast_history import Followed

WRITTEN = [Write(0, at, at, "k", version, True) for at, version in ((0.0, 1), (1.0, 2), (2.0, 3))]


def judged(*events: Event) -> list[Violation]:
    return check_follows([*WRITTEN, *events])


def followed(*seen: tuple[float, int], began: float = 0.0, until: float = 9.0, error: str = "") -> Followed:
    return Followed(1, began, until, "k", list(seen), error)


def test_no_status_is_told_before_it_is_written() -> None:
    assert not judged(followed((0.1, 1), (1.0, 2)))
    assert judged(followed((0.1, 1), (0.9, 2)))
    assert judged(followed((0.1, 9)))


def test_none_is_further_back_than_one_told_before() -> None:
    assert not judged(followed((2.1, 2), (2.2, 2), (2.3, 3)))
    assert judged(followed((2.1, 2), (2.2, 3), (2.3, 2)))


def test_each_that_lasts_or_a_later_one_is_told_at_once() -> None:
    drop = Drop(0, 1.0, 1.1, "k", 2, True, False)
    assert not judged(drop, followed((0.1, 1), (1.1 + AT_ONCE, 2)))
    assert judged(drop, followed((0.1, 1), (1.1 + AT_ONCE + 0.01, 2)))
    assert not judged(drop, followed((0.1, 1), (2.1, 3)))
    assert judged(drop, followed((0.1, 1)))
    assert not judged(drop, followed((0.1, 1), until=1.1 + AT_ONCE - 0.01)), "nobody follows any more"
    assert not judged(drop, followed((0.1, 1)), Fault(-1, 0.5, 0.6, "harm"))
    late = followed((5.0 + AT_ONCE, 2), began=5.0)
    assert not judged(drop, late), "a newcomer counts from when it came"


def test_following_fails_only_as_reads_do() -> None:
    assert not judged(followed(error="LoadFailed"))
    assert judged(followed(error="KeyError"))
