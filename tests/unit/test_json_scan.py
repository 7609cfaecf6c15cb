"""An object's members found by a scan: the same as the decoder's, and those of objects that no decoder takes."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from greenroom.sessions.json_scan import members_by_scan
from greenroom.sessions.raw_json import changed, joined, members

HALF = rb"\ud83d"
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)
PIECES = [
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b":",
    b'"a"',
    b'"',
    b"1",
    b"-",
    b"01",
    b"1.",
    b"1e5",
    b"null",
    b"nul",
    b" ",
    b"\\",
]


@given(st.dictionaries(st.text(max_size=4), VALUES, max_size=4), st.sampled_from([None, 1]))
def test_the_scan_finds_what_the_decoder_finds(value: dict[str, Any], indent: int | None) -> None:
    body = json.dumps(value, indent=indent).encode()
    assert {name: json.loads(bytes(raw)) for name, raw in members_by_scan(body).items()} == value


@given(st.lists(st.sampled_from(PIECES), max_size=12).map(b"".join) | st.binary(max_size=30))
def test_the_scan_refuses_what_the_decoder_refuses(body: bytes) -> None:
    try:
        expected = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    except (msgspec.DecodeError, UnicodeDecodeError):
        if b"\\u" not in body:
            with pytest.raises((msgspec.DecodeError, UnicodeDecodeError)):
                members_by_scan(body)
    else:
        try:
            found = members_by_scan(body)
        except UnicodeDecodeError:
            return  # the decoder does not look into the text of a value
        assert {name: bytes(raw) for name, raw in found.items()} == {name: bytes(raw) for name, raw in expected.items()}


@pytest.mark.parametrize("value", [b'"' + HALF + b'"', b'{"' + HALF + b'" : 1}', b"[" * 20_000 + b"]" * 20_000])
def test_what_no_decoder_takes_keeps_its_bytes(value: bytes) -> None:
    body = b' { "a" : ' + value + b' , "b":2}'
    assert bytes(members(body)["a"]) == value
    assert changed(body, {"b": 3}) == b'{"a":' + value + b',"b":3}'


def test_a_name_that_is_no_text_stays_that_name() -> None:
    body = b'{"' + HALF + b'":1}'
    assert joined(members(body)) == body
    assert changed(body, {"b": 2}) == b'{"' + HALF + b'":1,"b":2}'


@pytest.mark.parametrize(
    "nested", [b"[" * 5000, b'{"a":' * 5000, b"[" * 5000 + b"]" * 4999 + b"}", b'"' + HALF + b"\n"]
)
def test_what_is_no_json_is_refused_however_deep(nested: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        members(b'{"a":' + nested + b"}")


def test_a_scan_ends_before_it_holds_the_loop_up_for_long() -> None:
    with pytest.raises(msgspec.DecodeError, match="nested too deeply"):
        members(b'{"a":' + b"[" * 25_000 + b"]" * 25_000 + b"}")
