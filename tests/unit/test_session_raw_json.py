"""A session's JSON changed member by member, held to RFC 7396 and to keeping bytes."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from greenroom.sessions.owner import UserMember
from greenroom.sessions.raw_json import ACTIVITY, around, changed, members, merged

# RFC 7396, appendix A: those whose patch is an object. A patch that is none replaces the whole target; a session's
# cannot be one.
APPENDIX_A = [
    ('{"a":"b"}', '{"a":"c"}', '{"a":"c"}'),
    ('{"a":"b"}', '{"b":"c"}', '{"a":"b","b":"c"}'),
    ('{"a":"b"}', '{"a":null}', "{}"),
    ('{"a":"b","b":"c"}', '{"a":null}', '{"b":"c"}'),
    ('{"a":["b"]}', '{"a":"c"}', '{"a":"c"}'),
    ('{"a":"c"}', '{"a":["b"]}', '{"a":["b"]}'),
    ('{"a":{"b":"c"}}', '{"a":{"b":"d","c":null}}', '{"a":{"b":"d"}}'),
    ('{"a":[{"b":"c"}]}', '{"a":[1]}', '{"a":[1]}'),
    ('{"e":null}', '{"a":1}', '{"e":null,"a":1}'),
    ("[1,2]", '{"a":"b","c":null}', '{"a":"b"}'),
    ("{}", '{"a":{"bb":{"ccc":null}}}', '{"a":{"bb":{}}}'),
]

RFC_EXAMPLE = (
    b'{"title":"Goodbye!","author":{"givenName":"John","familyName":"Doe"},"tags":["example","sample"],'
    b'"content":"This will be unchanged"}',
    {"title": "Hello!", "phoneNumber": "+01-123-456-7890", "author": {"familyName": None}, "tags": ["example"]},
    b'{"title":"Hello!","author":{"givenName":"John"},"tags":["example"],"content":"This will be unchanged",'
    b'"phoneNumber":"+01-123-456-7890"}',
)


@pytest.mark.parametrize(("target", "patch", "result"), APPENDIX_A)
def test_the_cases_of_the_rfc(target: str, patch: str, result: str) -> None:
    assert merged(target.encode(), json.loads(patch)) == result.encode()


def test_the_example_of_the_rfc() -> None:
    assert merged(RFC_EXAMPLE[0], RFC_EXAMPLE[1]) == RFC_EXAMPLE[2]


TEXT = st.text('ab:,{}[] é😀\u2028"\\/\n\0', max_size=8)
SCALAR = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | TEXT
    | st.floats(allow_nan=False, allow_infinity=False)
)
VALUE = st.recursive(SCALAR, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=4))
NAME = st.sampled_from(["a", "b", "c", ACTIVITY, "é", '"', ""])
OBJECT = st.dictionaries(NAME, VALUE, max_size=5)
PATCH = st.recursive(SCALAR, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(NAME, inner, max_size=4))


def by_the_rfc(target: Any, patch: Any) -> Any:
    """Its pseudo code, section 2."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = by_the_rfc(result.get(name), value)
    return result


FEWER = settings(max_examples=40)
"""An object of many members takes long to draw; forty of them find what is broken."""


@st.composite
def written(draw: st.DrawFn, values: st.SearchStrategy[dict[str, Any]]) -> tuple[bytes, dict[str, Any]]:
    """An object, and its JSON as some language would write it."""
    value = draw(values)
    ascii_only, indent = draw(st.booleans()), draw(st.sampled_from([None, 0, 2]))
    separators = draw(st.sampled_from([(",", ":"), (" , ", " : ")]))
    return json.dumps(value, ensure_ascii=ascii_only, indent=indent, separators=separators).encode(), value


@FEWER
@given(written(OBJECT), st.dictionaries(NAME, PATCH, max_size=5))
def test_a_merge_is_the_rfcs(target: tuple[bytes, dict[str, Any]], patch: dict[str, Any]) -> None:
    body, value = target
    assert json.loads(merged(body, patch)) == by_the_rfc(value, patch)


@FEWER
@given(written(OBJECT), st.dictionaries(NAME, PATCH, max_size=5))
def test_a_merge_twice_is_the_merge(target: tuple[bytes, dict[str, Any]], patch: dict[str, Any]) -> None:
    once = merged(target[0], patch)
    assert merged(once, patch) == once


@FEWER
@given(written(OBJECT), st.dictionaries(NAME, PATCH, max_size=3))
def test_what_a_merge_does_not_name_keeps_its_bytes_and_its_order(
    target: tuple[bytes, dict[str, Any]], patch: dict[str, Any]
) -> None:
    before, after = members(target[0]), members(merged(target[0], patch))
    untouched = [name for name in before if name not in patch]
    assert [name for name in after if name in untouched] == untouched
    assert [bytes(after[name]) for name in untouched] == [bytes(before[name]) for name in untouched]


@FEWER
@given(written(OBJECT), st.dictionaries(NAME, VALUE | st.just(msgspec.UNSET), max_size=3))
def test_what_a_change_does_not_name_keeps_its_bytes_and_its_order(
    target: tuple[bytes, dict[str, Any]], changes: dict[str, Any]
) -> None:
    before, after = members(target[0]), members(changed(target[0], changes))
    untouched = [name for name in before if name not in changes]
    assert [name for name in after if name in untouched] == untouched
    assert [bytes(after[name]) for name in untouched] == [bytes(before[name]) for name in untouched]
    assert {name for name in after if name not in untouched} == {
        name for name, value in changes.items() if value is not msgspec.UNSET
    }


@FEWER
@given(written(OBJECT))
def test_around_gives_back_all_but_the_text_between(target: tuple[bytes, dict[str, Any]]) -> None:
    body, value = target
    head, tail = around(body, ACTIVITY)
    assert json.loads(head + b"between" + tail) == value | {ACTIVITY: "between"}
    again = members(head + b"between" + tail)
    assert all(bytes(again[name]) == bytes(raw) for name, raw in members(body).items() if name != ACTIVITY)
    assert list(again) == [*value, *([] if ACTIVITY in value else [ACTIVITY])]


@pytest.mark.parametrize(
    ("body", "user"),
    [
        (b'{"user_id":"u1"}', "u1"),
        (rb'{"user_id":"u\u0031"}', "u1"),
        (rb'{"\u0075ser_id":"u1"}', "u1"),
        (b'{"user_id":"u1","user_id":"u2"}', "u2"),
        (b'{"user_id":null}', None),
        (b'{"user_id":7}', None),
        (b'{"user_id":["u1"]}', None),
        (b'{"x":{"user_id":"u1"}}', None),
        (b"{}", None),
        (b"", None),
        (b"broken", None),
        (b"[]", None),
        (b"\xff", None),
        (b'{"user_id":"\xff"}', None),
        (rb'{"x":"\ud83d","user_id":"u1"}', "u1"),
        (rb'{"x":"\ud83d","user_id":"\ud83d"}', None),
        (b'{"x":' + b"[" * 5000 + b"]" * 5000 + b',"user_id":"u1"}', "u1"),
    ],
)
def test_whose_a_session_is(body: bytes, user: str | None) -> None:
    assert UserMember().of(body) == user


@given(st.binary(max_size=60) | written(OBJECT).map(lambda pair: pair[0]))
def test_whose_a_session_is_can_be_asked_of_anything(body: bytes) -> None:
    found = UserMember().of(body)
    assert found is None or found == json.loads(body)["user_id"]
