"""`group_register.lua`, `group_members.lua` and `group_forget.lua`, every branch, and the precision of their scores."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from greenroom.caching.groups import FORGET, MEMBERS, REGISTER
from tests.support.real_servers import Raw, Server
from tests.support.tracked_socket import Tracked

GROUP = "greenroom:group:{g}"
HOUR = 3_600_000


@pytest.fixture
def raw(server: Server) -> Iterator[Raw]:
    """A connection to the server."""
    connection = server.raw()
    yield connection
    connection.close()


def register(raw: Raw, member: str) -> None:
    assert raw("EVAL", REGISTER.source, 1, GROUP, member) == 1


def forget(raw: Raw, *pairs: str | int, longest_ms: int = HOUR) -> None:
    scores = " ".join(map(str, pairs[1::2]))
    assert raw("EVAL", FORGET.source, 1, GROUP, longest_ms, scores, *pairs[::2]) == 1


def score(raw: Raw, member: str) -> int:
    return int(raw("ZSCORE", GROUP, member))


def members(raw: Raw) -> list[bytes]:
    found: list[bytes] = raw("ZRANGE", GROUP, 0, -1)
    return found


def now(raw: Raw) -> int:
    seconds, micros = raw("TIME")
    return int(seconds) * 1_000_000 + int(micros)


def test_a_member_s_score_is_the_server_s_time_to_the_microsecond(raw: Raw) -> None:
    for _ in range(20):  # or a score rounded to ten microseconds could pass by chance
        before = now(raw)
        register(raw, "p1")
        assert before <= score(raw, "p1") <= now(raw)
    assert raw("TTL", GROUP) == -1


def test_a_score_is_kept_and_answered_exact_to_the_microsecond(server: Server, raw: Raw) -> None:
    micros = 4_102_444_799_999_999  # the last of this century's
    for member, value in (("a", micros - 1), ("b", micros)):
        raw("ZADD", GROUP, value, member)
    tracked = Tracked(server)  # as the client reads it, whose protocol has numbers
    found = tracked("EVAL", MEMBERS.source, 1, GROUP)
    assert found[::2] == [b"a", b"b"]
    assert [int(float(score)) for score in found[1::2]] == [micros - 1, micros]
    tracked.close()


def test_registering_again_gives_a_later_score(raw: Raw) -> None:
    register(raw, "p1")
    first = score(raw, "p1")
    register(raw, "p1")
    assert score(raw, "p1") > first
    assert members(raw) == [b"p1"]


def test_what_was_dropped_is_forgotten_and_the_rest_stays(raw: Raw) -> None:
    for member in ("p1", "p2", "p3"):
        register(raw, member)
    forget(raw, "p1", score(raw, "p1"), "p3", score(raw, "p3"))
    assert members(raw) == [b"p2"]


def test_a_member_registered_since_it_was_read_stays(raw: Raw) -> None:
    register(raw, "p1")
    read = score(raw, "p1")
    register(raw, "p1")
    forget(raw, "p1", read)
    assert members(raw) == [b"p1"]


def test_a_difference_of_one_microsecond_is_seen(raw: Raw) -> None:
    micros = now(raw)
    raw("ZADD", GROUP, micros, "p1")
    forget(raw, "p1", micros - 1)
    forget(raw, "p1", micros + 1)
    assert members(raw) == [b"p1"]
    forget(raw, "p1", micros)
    assert members(raw) == []


def test_a_member_that_is_gone_already_is_no_error(raw: Raw) -> None:
    register(raw, "p1")
    forget(raw, "p2", 1)
    assert members(raw) == [b"p1"]


def test_what_is_older_than_any_value_can_live_goes_too(raw: Raw) -> None:
    second = 1_000_000
    raw("ZADD", GROUP, now(raw) - 61 * second, "old", now(raw) - 50 * second, "young")
    forget(raw, longest_ms=60_000)
    assert members(raw) == [b"young"]


def test_an_empty_group_is_gone(raw: Raw) -> None:
    register(raw, "p1")
    forget(raw, "p1", score(raw, "p1"))
    assert raw("EXISTS", GROUP) == 0


@pytest.mark.parametrize("score", ["1.5", "-inf", "inf", "1e300", "-5", "0.1"])
def test_what_the_members_answer_has_is_what_forget_takes(raw: Raw, score: str) -> None:
    raw("ZADD", GROUP, score, b"\xff a\n", score, "p1", 7, "p2")
    found = raw("EVAL", MEMBERS.source, 1, GROUP)
    pairs = [pair for pair in zip(found[::2], found[1::2], strict=True) if pair[0] != b"p2"]
    members_read, scores = zip(*pairs, strict=True)
    raw("EVAL", FORGET.source, 1, GROUP, HOUR * 10**6, b" ".join(scores), *members_read)
    assert b"p1" not in members(raw)
    assert b"\xff a\n" not in members(raw)


def test_nothing_and_what_is_of_another_type_have_no_members(raw: Raw) -> None:
    assert raw("EVAL", MEMBERS.source, 1, GROUP) == []
    raw("SET", GROUP, "a")
    assert raw("EVAL", MEMBERS.source, 1, GROUP) == []


def test_where_there_is_no_group_nothing_is_forgotten(raw: Raw) -> None:
    assert raw("EVAL", FORGET.source, 1, GROUP, HOUR, "1", "p1") == 0
    raw("SET", GROUP, "a")
    assert raw("EVAL", FORGET.source, 1, GROUP, HOUR, "1", "p1") == 0
    assert raw("GET", GROUP) == b"a"
