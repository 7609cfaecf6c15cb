"""Whose a key is: every key that declarations make is found again, and no other is taken for one."""

from __future__ import annotations

from functools import partial

import pytest

from greenroom.acl import Holds
from greenroom.engine import Address
from greenroom.inspection.exposition import numbers, summed
from greenroom.inspection.keys import KeyIndex, KeyKind
from greenroom.inspection.sampling import Sample
from greenroom.inspection.server_settings import Told, versions
from greenroom.inspection.size import lifetime, reckoned
from greenroom_platform.cli.declarations import DECLARATIONS

KEYS = [
    ("@cache:topic:a", KeyKind.VALUE, "topic", "@cache:topic:a"),
    ("@cache:topics:all", KeyKind.VALUE, "topics", "@cache:topics:all"),
    ("@cache:snippets:topic:a:page:7", KeyKind.VALUE, "snippet_page", "@cache:snippets:topic:a:page:7"),
    ("@session:abc", KeyKind.VALUE, "session", "@session:abc"),
    ("@lease:{@cache:topic:a}", KeyKind.LEASE, "topic", "@cache:topic:a"),
    ("@absent:{@cache:topic:a}", KeyKind.ABSENCE, "topic", "@cache:topic:a"),
    ("@greenroom:mark:{@cache:topic:a}", KeyKind.MARK, "topic", "@cache:topic:a"),
    ("@greenroom:generation:{@cache:topic:{topic_id}}", KeyKind.GENERATION, "topic", "@cache:topic:{topic_id}"),
    ("@greenroom:group:{snippet_pages:a}", KeyKind.GROUP, None, "snippet_pages:a"),
    ("@greenroom:life:{@session:abc}", KeyKind.COMPANION, "session", "@session:abc"),
    ("@greenroom:sessions:{user:u1}", KeyKind.COMPANION, None, "user:u1"),
    ("@greenroom:leader:changes:{3x}", KeyKind.COMPANION, None, "3x"),
    ("@cache:topic:a:b", KeyKind.STRAY, "topic", "@cache:topic:a:b"),
    ("@cache:snippets:topic:a:page:0", KeyKind.STRAY, "snippet_page", "@cache:snippets:topic:a:page:0"),
    ("@cache:planet:a", KeyKind.NOBODY, None, ""),
    ("@lease:{@other:a}", KeyKind.NOBODY, None, ""),
    ("@greenroom:unheard:{x}", KeyKind.NOBODY, None, ""),
    ("", KeyKind.NOBODY, None, ""),
]


@pytest.mark.parametrize("prefix", ["", "st*g[1]:"])
@pytest.mark.parametrize(("key", "kind", "keyspace", "of"), KEYS)
def test_the_owner_of_a_key_is_found(prefix: str, key: str, kind: KeyKind, keyspace: str | None, of: str) -> None:
    owner = KeyIndex(DECLARATIONS, prefix).owner(key.replace("@", prefix))
    assert owner.kind is kind
    assert (owner.keyspace.name if owner.keyspace is not None else None) == keyspace
    assert owner.key == of.replace("@", prefix)


def test_another_environment_s_keys_are_nobody_s() -> None:
    assert KeyIndex(DECLARATIONS, "p:").owner("cache:topic:a").kind is KeyKind.NOBODY
    assert KeyIndex(DECLARATIONS, "").owner("p:cache:topic:a").kind is KeyKind.NOBODY


def test_each_key_is_as_likely_in_a_sample_as_any_other() -> None:
    steps = 100
    taken = [0] * 4
    for step in range(steps):
        sample = Sample(2)
        for key in range(4):
            sample.offer(str(key), partial(float, (step + 0.5) / steps))
        for name in sample.keys:
            taken[int(name)] += 1
    assert sample.found == 4
    assert taken[3] == pytest.approx(steps / 2, abs=1), "the last of four is in half of the samples of two"


def test_a_sum_is_reckoned_with_what_it_may_be_wrong_by() -> None:
    assert reckoned([], 0) == (0.0, 0.0)
    assert reckoned([10, 20], 2) == (30.0, 0.0)
    total, off = reckoned([10, 20, 30], 100)
    assert total == 2000
    assert off == pytest.approx(1.96 * 10 / 3**0.5 * 100 * 0.97**0.5)


def test_lifetimes_fall_into_their_bars() -> None:
    assert [lifetime(ms) for ms in (-1, 60_000, 60_001, 21_600_000, 21_600_001)] == [
        *("none", "1 min", "5 min", "6 h", "longer")
    ]


@pytest.mark.parametrize(
    ("info", "found"),
    [
        ({"valkey_version": "9.1.0", "redis_version": "7.2.4"}, []),
        ({"valkey_version": "7.2.5", "redis_version": "7.2.4"}, ["version"]),
        ({"redis_version": "7.0.15"}, []),
        ({"redis_version": "6.2.14"}, ["version"]),
        ({}, ["version"]),
    ],
)
def test_a_server_that_is_too_old_is_found(info: dict[str, str], found: list[str]) -> None:
    told = Told(Address.parse("valkey://host"), Holds.BOTH, info)
    assert [one.kind for one in versions(told)] == found


def test_an_exposition_is_read_back() -> None:
    text = '# HELP x y\na_total{node="h:1",event="a\\"b"} 3.0\na_total{node="h:2"} 1e2\nb 7\nbroken{ x\nc No\n'
    found = list(numbers(text))
    assert [(one.name, one.value) for one in found] == [("a_total", 3.0), ("a_total", 100.0), ("b", 7.0)]
    assert summed(found, "a_total", "node") == {"h:1": 3.0, "h:2": 100.0}
