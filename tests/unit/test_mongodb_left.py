"""Snippets that have left their topics: kept while the stream is behind the count, whatever a stored place has."""

from __future__ import annotations

from typing import Any

import pytest
from bson import Timestamp

from greenroom_platform.storage.mongodb.left import Left


def test_what_has_left_counts_until_the_stream_has_caught_up() -> None:
    left = Left()
    left.add({"a": 2}, Timestamp(5, 1))
    left.counted = Timestamp(7, 1)
    left.add({"a": 1, "b": 1}, Timestamp(7, 1))
    assert (left.counts, left.total) == ({"a": 3, "b": 1}, 4)
    left.counted = Timestamp(8, 1)
    left.add({"a": 1}, Timestamp(8, 2))
    assert left.counts == {"a": 1}
    left.forget()
    assert left.total == 0


def test_it_is_stored_with_the_place() -> None:
    left = Left()
    left.add({"a.b": 2, "$c": 1}, Timestamp(5, 1))
    left.counted = Timestamp(7, 1)
    found = Left.stored({"left": left.to_store()})
    assert (found.counts, found.counted) == (left.counts, left.counted)


@pytest.mark.parametrize(
    "place",
    [{}, {"left": 7}, {"left": {"counted": 7, "topics": ["a"], "counts": [1]}}]
    + [{"left": {"counted": Timestamp(1, 1), "topics": topics, "counts": [1]}} for topics in (7, [7], [])],
)
def test_what_another_program_has_stored_there_is_nothing(place: dict[str, Any]) -> None:
    assert Left.stored(place).total == 0
