"""Whether two key formats can make one key."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from greenroom.keyspace import Number, Pattern
from greenroom.keyspace.overlap import can_make_one_key
from greenroom_platform.definitions import DEFINITIONS

NUMBER = Number(1, 10_000)


def pattern(text: str) -> Pattern:
    return Pattern(text, parts={"n": NUMBER} if "{n}" in text else None)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("user:{id}", "user:{name}"),
        ("user:{id}", "user:admin"),
        ("user:{id}", "user:{id}"),
        ("o:{a}", "o:{n}"),
        ("p:{a}:page:{n}", "p:{b}:{c}:{d}"),
        ("p:{a}:x", "p:y:{b}"),
        ("p:{a}:{b}", "p:x:{c}"),
        ("p:{a}/x/{b}", "p:{a}/{c}/x"),
        ("p:{n}", "p:12"),
    ],
)
def test_formats_that_can_make_one_key(one: str, other: str) -> None:
    assert can_make_one_key(pattern(one), pattern(other))
    assert can_make_one_key(pattern(other), pattern(one))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("user:{id}", "users:{id}"),
        ("user:{id}", "user:{id}:posts"),
        ("user:{id}", "user:a!b"),
        ("p:{n}", "p:a"),
        ("p:{n}", "p:012"),
        ("p:{a}:x", "p:{b}:y"),
        ("a", "b"),
    ],
)
def test_formats_that_cannot(one: str, other: str) -> None:
    assert not can_make_one_key(pattern(one), pattern(other))
    assert not can_make_one_key(pattern(other), pattern(one))


def test_the_formats_of_the_platform_are_apart() -> None:
    for place, one in enumerate(DEFINITIONS):
        assert not any(can_make_one_key(one.pattern, other.pattern) for other in DEFINITIONS[place + 1 :])


TEXTS = (
    st.lists(st.sampled_from([":a", ":", "1", "-", ":{p}", ":{q}", "{n}:"]), max_size=4).map("".join).map("k".__add__)
)


def known(text: str) -> bool:
    try:
        pattern(text)
    except Exception:
        return False
    return True


@given(TEXTS.filter(known), TEXTS.filter(known), st.data())
def test_what_one_key_fits_both_is_found(one: str, other: str, data: st.DataObject) -> None:
    first, second = pattern(one), pattern(other)
    parts = {
        name: data.draw(st.integers(1, 12) if name == "n" else st.text("a1-", min_size=1, max_size=3))
        for name in first.names
    }
    if second.parse(first.key(**parts)) is not None:
        assert can_make_one_key(first, second)
