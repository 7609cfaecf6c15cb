"""A session's members as JSON: what can be, and what is refused by its name."""

from __future__ import annotations

import enum
import math
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from greenroom.errors import InvalidInput
from greenroom.sessions.owner import UserMember
from greenroom.sessions.raw_json import changed, members, merged, readable


def nested(levels: int, last: Any = 1) -> Any:
    for _ in range(levels):
        last = {"in": [last]}
    return last


class Score(msgspec.Struct):
    value: float


class Answer(enum.StrEnum):
    YES = "yes"


class Rank(enum.IntEnum):
    FIRST = 1


NO_JSON = {
    "a lone surrogate": "secret-value\ud800",
    "a surrogate in a list": ["secret-value", "\ud800"],
    "a surrogate as a key": {"\udfff": 1},
    "NaN": math.nan,
    "infinity": math.inf,
    "minus infinity, deep": {"a": [None, {"b": (-math.inf,)}]},
    "NaN in a struct": Score(math.nan),
    "NaN in a set": {math.nan},
    "a foreign object": object(),
    "a foreign object, deep": [{"a": {1, 2}}, {"b": math}],
    "a class": int,
    "an exception": ValueError("secret-value"),
    "a key that is a tuple": {(1, 2): 3},
    "depth": nested(50_000),
    "depth that cannot be read again": nested(495),
    "a number beyond reading": 10**4299 * 10,
    "JSON that is none": msgspec.Raw(b'{"a":'),
    "JSON of two values": msgspec.Raw(b'1,"b":2'),
    "JSON that ends what it stands in": msgspec.Raw(b"1],[2"),
    "UNSET, deep": [msgspec.UNSET],
}  # fmt: skip


@pytest.mark.parametrize("set_", [changed, merged])
@pytest.mark.parametrize("value", NO_JSON.values(), ids=NO_JSON.keys())
def test_what_cannot_be_json_is_refused_by_its_name(set_: Any, value: Any) -> None:
    with pytest.raises(InvalidInput) as caught:
        set_(b'{"a":1}', {"fine": 1, "note": value})
    assert (
        caught.value.field in ("note", "members", "in", "\\udfff", "a", "b")
        if set_ is merged
        else caught.value.field == "note"
    )
    assert "secret-value" not in str(caught.value)
    assert str(caught.value).isascii()


@pytest.mark.parametrize("set_", [changed, merged])
@pytest.mark.parametrize("name", ["\ud800", 1, None, b"a", ("a",), Answer.YES])
def test_a_name_that_is_no_text_is_refused(set_: Any, name: Any) -> None:
    with pytest.raises(InvalidInput):
        set_(b"{}", {name: 1})


@pytest.mark.parametrize(
    "value",
    [
        None,
        "null",
        [None, "null"],
        {"null": None},
        2**70,
        1e308,
        nested(200),
        msgspec.Raw(b"1e999"),
        [msgspec.Raw(b"1")],
    ],
)
def test_what_json_has_is_kept(value: Any) -> None:
    body = changed(b"{}", {"note": value})
    assert msgspec.json.decode(msgspec.json.encode(members(body)["note"]), type=msgspec.Raw) is not None


CHANGED = {
    "a date": date(2026, 1, 1),
    "a moment": datetime(2026, 1, 1, tzinfo=UTC),
    "a time": time(1),
    "a duration": timedelta(1),
    "a decimal": Decimal("1.5"),
    "an id": UUID(int=1),
    "a member of an enumeration": Answer.YES,
    "a number of an enumeration": Rank.FIRST,
    "bytes": b"a",
    "a bytearray": bytearray(b"a"),
    "a set": {1},
    "a frozen set": frozenset({1}),
    "a tuple": (1, 2),
    "a struct": Score(1.0),
    "a number as a key": {1: 2},
    "None as a key": {None: 1},
    "an enumeration as a key": {Answer.YES: 1},
    "a date as a key": {date(2026, 1, 1): 1},
}


@pytest.mark.parametrize("set_", [changed, merged])
@pytest.mark.parametrize("inside", [lambda one: one, lambda one: [one], lambda one: {"note": [{"note": one}]}])
@pytest.mark.parametrize("value", CHANGED.values(), ids=CHANGED.keys())
def test_what_would_come_back_as_another_type_is_refused(set_: Any, inside: Any, value: Any) -> None:
    with pytest.raises(InvalidInput) as caught:
        set_(b'{"a":1}', {"note": inside(value)})
    assert caught.value.field in (("note", "members") if set_ is merged else ("note",))
    assert str(caught.value).count("note: ") <= 1, "said once"


ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.floats()
    | st.text(max_size=3)
    | st.integers()
    | st.sampled_from([*CHANGED.values()]),
    lambda one: (
        st.lists(one, max_size=3)
        | st.tuples(one)
        | st.dictionaries(st.text(max_size=2) | st.integers() | st.booleans(), one, max_size=2)
    ),
    max_leaves=5,
)


def as_written(value: Any) -> Any:
    if isinstance(value, dict):
        return dict, [(type(key), key, as_written(one)) for key, one in value.items()]
    return (list, [as_written(one) for one in value]) if type(value) is list else (type(value), value)


@settings(max_examples=50)
@given(ANYTHING)
def test_members_come_back_equal_or_are_refused(value: Any) -> None:
    try:
        body = changed(b"{}", {"note": value})
    except InvalidInput:
        return
    assert as_written(readable(body)["note"]) == as_written(value)


@pytest.mark.parametrize(
    "user", ["", "x" * 257, None, 5, True, b"x", ("u",), {}, msgspec.Raw(b"5"), msgspec.Raw(b'""')]
)
def test_what_is_no_user_id_is_refused_with_the_remedy(user: Any) -> None:
    with pytest.raises(InvalidInput, match="use a string of 1 to 256 characters") as caught:
        UserMember().changed(b"{}", {"user_id": user})
    assert caught.value.field == "user_id"


@pytest.mark.parametrize("user", ["u", "a@b.c", "x" * 256, msgspec.Raw(b'"u"'), msgspec.UNSET])
def test_any_string_is_a_user_id(user: Any) -> None:
    assert members(UserMember().changed(b"{}", {"user_id": user})).keys() == (
        {"user_id"} if user is not msgspec.UNSET else set()
    )


@pytest.mark.parametrize("number", [b"1e999", b"-1e999", b"9" * 5000, b'[1,{"a":1e999}]'])
def test_a_foreign_number_out_of_range_spoils_no_other_member(number: bytes) -> None:
    body = b'{"a":1,"foreign":%s,"b":{"c":[2]}}' % number
    found = readable(body)
    assert (found["a"], found["b"]) == (1, {"c": [2]})
    assert bytes(found["foreign"]) == number
    assert bytes(members(changed(body, {"a": 2}))["foreign"]) == number
    assert bytes(members(merged(body, {"b": {"c": None}}))["foreign"]) == number
