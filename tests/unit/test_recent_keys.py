"""Remembered keys: each is the one that the keyspace makes, and equal parts of another type are not taken for it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from greenroom import Keyspace, Number, Text
from greenroom.errors import InvalidInput
from greenroom.keyspace import recent_keys
from greenroom.keyspace.recent_keys import RecentKeys

HOUR = timedelta(hours=1)
PAGE = Keyspace("page:{region}:{number}", int, parts={"number": Number(1, 100)}, ttl=HOUR)


@pytest.mark.parametrize(
    ("args", "parts"),
    [
        (("eu", 1), {}),
        ((), {"region": "eu", "number": 1}),
        ((), {"number": 1, "region": "eu"}),
        (("eu",), {"number": 1}),
    ],
    ids=["in order", "by name", "by name, in another order", "mixed"],
)
def test_a_remembered_key_is_the_one_that_the_keyspace_makes(args: tuple[Any, ...], parts: dict[str, Any]) -> None:
    keys = RecentKeys(PAGE)
    assert [keys.key(args, parts) for _ in range(2)] == ["page:eu:1"] * 2


@pytest.mark.parametrize("other", [True, 1.0], ids=["a truth", "a fraction"])
def test_what_equals_a_remembered_part_is_still_refused(other: Any) -> None:
    keys = RecentKeys(PAGE)
    keys.key(("eu", 1), {})
    keys.key((), {"region": "eu", "number": 1})
    with pytest.raises(InvalidInput):
        keys.key(("eu", other), {})
    with pytest.raises(InvalidInput):
        keys.key((), {"region": "eu", "number": other})


def test_no_more_keys_are_remembered_than_the_bound_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recent_keys, "_MAX", 3)
    keys = RecentKeys(PAGE)
    for number in range(1, 9):
        assert keys.key(("eu", number), {}) == f"page:eu:{number}"
        assert 0 < len(keys.known) <= 3


@pytest.mark.parametrize("asked", [("x" * 1000,), ("x" * 100, "y" * 200)], ids=["one part", "several"])
def test_long_texts_are_not_remembered_and_have_their_keys(asked: tuple[str, ...]) -> None:
    names = ["text", "more"][: len(asked)]
    pattern = ":".join(["found", *(f"{{{name}}}" for name in names)])
    search = Keyspace(pattern, int, parts=dict.fromkeys(names, Text()), ttl=HOUR)
    keys = RecentKeys(search)
    named = dict(zip(names, asked, strict=True))
    assert keys.key(asked, {}) == keys.key((), named) == search.key(*asked)
    assert not keys.known
