"""A session's members as JSON: what can be, and what is refused by its name."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from greenroom.errors import InvalidInput
from greenroom.sessions.document import changed, members, merged, readable


def nested(levels: int, last: Any = 1) -> Any:
    for _ in range(levels):
        last = {"in": [last]}
    return last


class Score(msgspec.Struct):
    value: float


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
@pytest.mark.parametrize("name", ["\ud800", 1, None, b"a", ("a",)])
def test_a_name_that_is_no_text_is_refused(set_: Any, name: Any) -> None:
    with pytest.raises(InvalidInput):
        set_(b"{}", {name: 1})


@pytest.mark.parametrize(
    "value",
    [None, "null", [None, "null"], {"null": None}, Decimal("1.5"), 2**70, 1e308, nested(200), msgspec.Raw(b"1e999")],
)
def test_what_json_has_is_kept(value: Any) -> None:
    body = changed(b"{}", {"note": value})
    assert msgspec.json.decode(msgspec.json.encode(members(body)["note"]), type=msgspec.Raw) is not None


@given(
    st.recursive(st.none() | st.floats() | st.text(max_size=3) | st.integers(), lambda one: st.lists(one, max_size=3))
)
def test_nothing_becomes_null_in_silence(value: Any) -> None:
    try:
        body = changed(b"{}", {"note": value})
    except InvalidInput:
        return
    assert readable(body)["note"] == value


@pytest.mark.parametrize("number", [b"1e999", b"-1e999", b"9" * 5000, b'[1,{"a":1e999}]'])
def test_a_foreign_number_out_of_range_spoils_no_other_member(number: bytes) -> None:
    body = b'{"a":1,"foreign":%s,"b":{"c":[2]}}' % number
    found = readable(body)
    assert (found["a"], found["b"]) == (1, {"c": [2]})
    assert bytes(found["foreign"]) == number
    assert bytes(members(changed(body, {"a": 2}))["foreign"]) == number
    assert bytes(members(merged(body, {"b": {"c": None}}))["foreign"]) == number
