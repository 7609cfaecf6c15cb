"""Key formats: parts to key and back, and no way from a part to another key."""

from __future__ import annotations

import binascii
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from greenroom.errors import InvalidInput
from greenroom.keyspace import Keyspace, Number, Pattern
from greenroom.keyspace.derived_keys import absent_key, derived_key, lease_key
from greenroom_platform.definitions import DEFINITIONS, SNIPPET_PAGE, TOPIC

ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._~-"
parts = st.text(ALPHABET, min_size=1, max_size=128)
prefixes = st.text("abc:-._", max_size=10)


def slot(key: str) -> int:
    """The cluster slot, as the cluster specification computes it."""
    start = key.find("{")
    end = key.find("}", start + 1)
    if start >= 0 and end > start + 1:
        key = key[start + 1 : end]
    return binascii.crc_hqx(key.encode(), 0) % 16384


@given(st.sampled_from(DEFINITIONS), st.data(), prefixes)
def test_a_key_leads_back_to_its_parts_and_to_no_other_keyspace(
    keyspace: Keyspace[Any], data: st.DataObject, prefix: str
) -> None:
    keyspace = keyspace.prefixed(prefix)
    values: dict[str, Any] = {
        name: data.draw(st.integers(1, 10_000) if name in keyspace.pattern.declared else parts)
        for name in keyspace.pattern.names
    }
    key = keyspace.key(**values)
    assert key.startswith(prefix)
    assert keyspace.pattern.parse(key) == values
    others = [other.prefixed(prefix) for other in DEFINITIONS if other.name != keyspace.name]
    assert all(other.pattern.parse(key) is None for other in others)


@given(st.sampled_from(DEFINITIONS), parts, prefixes)
def test_companions_are_in_the_slot_of_their_key(keyspace: Keyspace[Any], part: str, prefix: str) -> None:
    keyspace = keyspace.prefixed(prefix)
    key = keyspace.key(**{name: 1 if name in keyspace.pattern.declared else part for name in keyspace.pattern.names})
    for companion in (lease_key(prefix, key), absent_key(prefix, key), derived_key(prefix, "touched", key)):
        assert companion.startswith(prefix)
        assert slot(companion) == slot(key)


def test_companion_names_are_the_contract_s() -> None:
    assert lease_key("", "cache:topic:x") == "lease:{cache:topic:x}"
    assert absent_key("p:", "p:cache:topic:x") == "p:absent:{p:cache:topic:x}"
    assert derived_key("", "touched", "session:a") == "greenroom:touched:{session:a}"


@pytest.mark.parametrize(
    "part",
    [
        "",
        "a" * 129,
        "a:b",
        "a{b",
        "a}b",
        "a*b",
        "a?b",
        "[a]",
        "a b",
        "a\n",
        "\n",
        "a\0b",
        "é",
        "a/b",
        "a\\b",
        True,
        1.5,
        10**200,
        None,
        b"a",
    ],
)
def test_what_could_reach_another_key_is_refused_by_name(part: object) -> None:
    with pytest.raises(InvalidInput) as caught:
        TOPIC.key(part)
    assert caught.value.field == "topic_id"
    assert "1 to 128 characters" in caught.value.remedy
    with pytest.raises(InvalidInput, match="topic_id"):
        SNIPPET_PAGE.key(topic_id=part, page_number=1)


@pytest.mark.parametrize("number", [0, -1, 10_001, "1", True, 1.0, None])
def test_a_page_number_is_a_whole_number_in_range(number: object) -> None:
    with pytest.raises(InvalidInput) as caught:
        SNIPPET_PAGE.key(topic_id="a", page_number=number)
    assert caught.value.field == "page_number"
    assert "1 to 10,000" in caught.value.remedy


@pytest.mark.parametrize("key", ["01", "0", "10001", "1x", "", "-1", "99999999999"])
def test_a_number_is_read_back_in_one_form_only(key: str) -> None:
    assert SNIPPET_PAGE.pattern.parse(f"cache:snippets:topic:a:page:{key}") is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{a}",
        "a:{b",
        "a}b",
        "a:{B}",
        "a:{}",
        "x:{a}{b}",
        "x:{a}-{b}",
        "x:{a}:{a}",
        "lease:{a}",
        "absent:{a}",
        "greenroom:x",
    ],
)
def test_an_ambiguous_or_reserved_format_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match="pattern"):
        Pattern(text)


def test_a_part_named_as_methods_name_their_object_is_refused() -> None:
    with pytest.raises(InvalidInput, match="has a part named self; give the part another name"):
        Pattern("x:{self}")


def test_a_number_for_no_part_is_refused() -> None:
    with pytest.raises(InvalidInput, match="pattern"):
        Pattern("x:{a}", parts={"b": Number(1, 2)})


@pytest.mark.parametrize("prefix", ["a{", "}", "a b", "é", "a\n", "x" * 129])
def test_a_prefix_that_could_change_the_slot_is_refused(prefix: str) -> None:
    with pytest.raises(InvalidInput, match="key prefix"):
        TOPIC.prefixed(prefix)


def test_parts_are_those_of_the_pattern() -> None:
    one: tuple[tuple[tuple[str, ...], dict[str, str]], ...] = (
        ((), {}),
        (("a", "b"), {}),
        ((), {"snippet_id": "a"}),
        (("a",), {"topic_id": "a"}),
    )
    for args, named in one:
        with pytest.raises(TypeError):
            TOPIC.key(*args, **named)
    for args, named in (
        (("a",), {}),
        (("a", "b", "c"), {}),
        (("a", "b"), {"page_number": "1"}),
        ((), {"topic_id": "a"}),
    ):
        with pytest.raises(TypeError, match="takes the parts topic_id, page_number; given"):
            SNIPPET_PAGE.key(*args, **named)


def test_parts_by_position_are_in_the_order_of_the_pattern() -> None:
    key = SNIPPET_PAGE.key(topic_id="a", page_number=7)
    assert SNIPPET_PAGE.key("a", 7) == SNIPPET_PAGE.key("a", page_number=7) == key
    with pytest.raises(InvalidInput, match="page_number: 'a' is not a whole number"):
        SNIPPET_PAGE.key(7, "a")


@pytest.mark.parametrize("text", ["x y:{a}", "x:{a} ", "é:{a}", "x\n:{a}", "x:{a}:\x7f", 3, None, b"x:{a}"])
def test_a_pattern_of_what_nobody_can_type_is_refused(text: Any) -> None:
    with pytest.raises(InvalidInput, match=r"pattern: .*cache:episode:\{episode_id\}"):
        Pattern(text)


@pytest.mark.parametrize("bounds", [(5, 1), ("a", "b"), (1, None), (True, 2), (1.5, 2)])
def test_bounds_that_no_number_is_within_are_refused(bounds: Any) -> None:
    with pytest.raises(InvalidInput, match="parts"):
        Number(*bounds)
    with pytest.raises(InvalidInput, match=r"parts: n is .*Number\(1, 100\)"):
        Pattern("x:{n}", parts={"n": bounds})
