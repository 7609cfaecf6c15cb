"""The typed form of what `get_or_lease` answers, and the names of companions."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from greenroom.caching.lease import Absent, Acquired, Answer, FailedElsewhere, Hit, Wait, answer, fingerprint
from greenroom.keyspace.derived_keys import absent_key, derived_key, lease_key, owner


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        ([b"value", b"{}", 1500], Hit(b"{}", 1500)),
        ([b"value", b"", -1], Hit(b"", -1)),
        ([b"absent", 300], Absent(300)),
        ([b"lead"], Acquired()),
        ([b"wait", 6000], Wait(6000)),
        ([b"wait", -2], Wait(0)),
        ([b"failed", b"KeyError", 900], FailedElsewhere("KeyError", 900)),
        ([b"failed", b"\xff", -2], FailedElsewhere("\ufffd", 0)),
    ],
)
def test_each_reply_has_its_type(reply: list[Any], expected: Answer) -> None:
    assert answer(reply) == expected


def test_a_fingerprint_is_40_hex_digits_of_the_bytes() -> None:
    assert fingerprint(b"abc") == "a9993e364706816aba3e25717850c26c9cd0d89d"


KEYS = st.from_regex(r"[A-Za-z0-9._~:-]{1,60}", fullmatch=True)
PREFIXES = st.just("") | st.from_regex(r"[A-Za-z0-9._~:-]{1,12}", fullmatch=True)


@given(prefix=PREFIXES, key=KEYS)
def test_the_owner_of_a_companion_is_its_key_with_its_prefix(prefix: str, key: str) -> None:
    key = prefix + key
    assert owner(lease_key(prefix, key)) == owner(absent_key(prefix, key)) == key
    assert owner(key) == key


@given(name=st.text(st.sampled_from("ab:{}"), max_size=12))
def test_any_other_name_is_no_error(name: str) -> None:
    assert isinstance(owner(name), str)


def test_companions_are_named_as_the_contract_says() -> None:
    assert lease_key("p:", "p:cache:topic:x") == "p:lease:{p:cache:topic:x}"
    assert absent_key("", "cache:topic:x") == "absent:{cache:topic:x}"
    assert derived_key("p:", "touched", "p:session:x") == "p:greenroom:touched:{p:session:x}"


def hash_tag(name: str) -> str:
    """What a cluster hashes of a name."""
    start = name.find("{")
    end = name.find("}", start + 1)
    return name[start + 1 : end] if start >= 0 and end > start + 1 else name


@given(prefix=PREFIXES, key=KEYS)
def test_a_companion_stands_in_its_key_s_slot(prefix: str, key: str) -> None:
    key = prefix + key
    for companion in (lease_key(prefix, key), absent_key(prefix, key), derived_key(prefix, "touched", key)):
        assert hash_tag(companion) == hash_tag(key)
