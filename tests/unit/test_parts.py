"""Parts of any kind: each value has one text in a key, each text leads back to one value, and errors name the cure."""

from __future__ import annotations

from base64 import urlsafe_b64encode
from datetime import UTC, date, datetime, timedelta
from hashlib import sha256
from typing import Any
from urllib.parse import quote
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

import greenroom
from greenroom import Keyspace, Number, Text
from greenroom.errors import InvalidInput
from greenroom.keyspace import Pattern
from greenroom.keyspace.keyspace import group_pattern
from greenroom.keyspace.overlap import can_make_one_key

ID = UUID("0123abcd-0000-4000-8000-0000000000ff")
WORDS = st.text("ABCabc019._~-", min_size=1, max_size=128)
TEXTS = st.text(st.characters(codec="utf-8"), max_size=60) | st.sampled_from(
    ["", "%~", "%41", "~", "a" * 100, "ä" * 17]
)
KINDS: dict[Any, st.SearchStrategy[Any]] = {
    str: WORDS,
    int: st.integers(-(2**63), 2**63 - 1),
    Number(-3, 7): st.integers(-3, 7),
    Number(0, 2**64 - 1): st.integers(0, 2**64 - 1) | st.just(2**64 - 1),
    Number(-(10**99), 10**99): st.integers(-(10**99), 10**99),
    UUID: st.uuids(),
    date: st.dates(),
    Text(): TEXTS,
}


@given(st.lists(st.sampled_from(list(KINDS)), min_size=1, max_size=4), st.sampled_from(["", "p:", "a*b:"]), st.data())
def test_a_key_of_parts_of_any_kind_leads_back_to_them(kinds: list[Any], prefix: str, data: st.DataObject) -> None:
    names = [f"p{place}" for place in range(len(kinds))]
    pattern = Pattern("x:" + ":".join(f"{{{name}}}" for name in names), parts=dict(zip(names, kinds, strict=True)))
    pattern = pattern.prefixed(prefix)
    values = {name: data.draw(KINDS[kind]) for name, kind in zip(names, kinds, strict=True)}
    key = pattern.key(**values)
    assert key == pattern.key(*values.values())
    assert key.isascii()
    assert " " not in key
    assert not {"{", "}"} & set(key)
    assert key.removeprefix(prefix).count(":") == len(kinds), "no part reaches over its end"
    assert pattern.matches(key)
    back = pattern.parse(key)
    assert back is not None
    digests = {name for name in names if isinstance(values[name], str) and len(quote(values[name], safe="")) > 128}
    assert {name: one for name, one in back.items() if one is not None} == {
        name: one for name, one in values.items() if back[name] is not None
    }
    assert digests <= {name for name in names if back[name] is None}


@given(TEXTS, TEXTS)
def test_two_texts_never_have_one_key(one: str, other: str) -> None:
    pattern = Pattern("q:{q}", parts={"q": Text()})
    assert (pattern.key(one) == pattern.key(other)) == (one == other)


def test_the_text_of_each_kind_is_the_documented_one() -> None:
    parts: dict[str, Any] = {"n": int, "id": UUID, "on": date, "q": Text()}
    keyspace = Keyspace("a:{n}:{id}:{on}:{q}", str, parts=parts, ttl=timedelta(1))
    key = keyspace.key(-7, ID, date(2026, 11, 29), "two words / ä")
    assert key == "a:-7:0123abcd-0000-4000-8000-0000000000ff:2026-11-29:two%20words%20%2F%20%C3%A4"
    long = "ä" * 17  # 102 characters when percent-encoded
    digest = urlsafe_b64encode(sha256(long.encode()).digest()).decode().rstrip("=")
    assert keyspace.key(0, ID, date.min, long) == f"a:0:{ID}:0001-01-01:%~{digest}"
    assert keyspace.key(0, ID, date.min, "").endswith(":%~")
    assert group_pattern("days:{on}:{q}", keyspace).key(on=date(2026, 1, 2), q="a b") == "days:2026-01-02:a%20b"


@pytest.mark.parametrize(
    ("kind", "value", "words"),
    [
        (str, date(2026, 1, 1), "a: is date, not a string; declare it: parts={'a': date}"),
        (str, 1.5, "a: is float, not a string; use 1 to 128 characters"),
        (str, datetime.now(UTC), "a: is datetime, not a string"),
        (int, "7", "a: '7' is not a whole number; use a whole number from"),
        (Number(1, 3), 4, "a: 4 is out of range; use a whole number from 1 to 3"),
        (Number(-2000, 1000), 2000, "a: 2000 is out of range; use a whole number from -2,000 to 1,000"),
        (UUID, str(ID), "is not a UUID; give a uuid.UUID"),
        (date, datetime.now(UTC), r"is not a date; give a datetime.date, as moment.date\(\)"),
        (date, "2026-01-01", "a: '2026-01-01' is not a date"),
        (Text(), 3, "a: is int, not a string"),
        (Text(), "\ud800", "half of a surrogate pair"),
    ],
)
def test_a_part_of_another_kind_is_refused_with_the_cure(kind: Any, value: object, words: str) -> None:
    with pytest.raises(InvalidInput, match=words) as caught:
        Pattern("x:{a}", parts={"a": kind}).key(value)
    assert caught.value.field == "a"


def test_a_number_that_python_does_not_write_out_is_refused_as_any_other() -> None:
    with pytest.raises(InvalidInput, match="a: a very large number is out of range"):
        Pattern("x:{a}", parts={"a": int}).key(10**5000)


@pytest.mark.parametrize("bounds", [(0, 10**100), (-(10**100), 0), (0, 10**5000)])
def test_bounds_that_no_key_has_room_for_are_refused(bounds: tuple[int, int]) -> None:
    with pytest.raises(InvalidInput, match=r"parts: .* is too wide for a key; use bounds of at most 100 digits"):
        Number(*bounds)


def test_a_key_within_narrower_bounds_matches_and_does_not_parse() -> None:
    pattern = Pattern("x:{a}", parts={"a": Number(1, 100)})
    assert pattern.matches("x:1000")
    assert pattern.parse("x:1000") is None


def test_the_cure_for_any_text_is_told_to_the_developer_alone() -> None:
    with pytest.raises(InvalidInput) as caught:
        Pattern("x:{a}").key("with space")
    assert caught.value.__notes__ == ["For any text, declare the part: parts={'a': Text()}."]
    assert "Text" not in str(caught.value), "an application answers with it"


@pytest.mark.parametrize("kind", [float, bool, datetime, Text, Number, 5, "int", None, list[int]])
def test_a_part_declared_as_something_else_is_refused_at_once(kind: Any) -> None:
    with pytest.raises(InvalidInput, match=r"parts: a is .*; use str, int, Number\(1, 100\), uuid.UUID, .*Text"):
        Keyspace("x:{a}", str, parts={"a": kind}, ttl=timedelta(1))


@pytest.mark.parametrize(
    ("one", "other", "found"),
    [
        (UUID, date, False),
        (UUID, int, False),
        (date, int, False),
        (UUID, str, True),
        (date, str, True),
        (UUID, Text(), True),
        (int, Text(), True),
    ],
)
def test_formats_whose_parts_tell_them_apart_may_stand_together(one: Any, other: Any, found: bool) -> None:
    first, second = Pattern("x:{a}", parts={"a": one}), Pattern("x:{b}", parts={"b": other})
    assert can_make_one_key(first, second) is can_make_one_key(second, first) is found


@given(st.sampled_from(list(KINDS)), st.sampled_from(list(KINDS)), st.data())
def test_formats_that_make_one_key_are_always_found(one: Any, other: Any, data: st.DataObject) -> None:
    first, second = Pattern("x:{a}", parts={"a": one}), Pattern("x:{b}", parts={"b": other})
    if second.parse(first.key(data.draw(KINDS[one]))) is not None:
        assert can_make_one_key(first, second)


@pytest.mark.parametrize("text", ["%41", "%2f", "%", "%~x", "%~" + "a" * 42, "a b", "", "a" * 101])
def test_a_text_that_no_value_has_is_of_no_key(text: str) -> None:
    assert Pattern("x:{a}", parts={"a": Text()}).parse(f"x:{text}") is None


def test_a_literal_percent_sign_divides_no_parts() -> None:
    with pytest.raises(InvalidInput, match="no separator"):
        Pattern("x:{a}%{b}", parts={"a": Text()})


def test_wildcards_in_a_format_stand_for_themselves() -> None:
    assert Pattern("a*[b]:{a}", prefix="p?").glob == r"p\?a\*\[b\]:*"


def test_the_kinds_are_public() -> None:
    assert greenroom.Text is Text
