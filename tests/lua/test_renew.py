"""`renew.lua` and `read_back.lua`: every branch, and how many pushes follow, which a leader goes by."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from greenroom.caching.lease import GET_OR_LEASE, READ_BACK, RENEW, fingerprint
from tests.support.real_servers import Raw, Server
from tests.support.tracked_socket import Tracked

VALUE, LEASE, ABSENT = "k", "lease:{k}", "absent:{k}"
OURS, THEIRS = "a" * 32, "b" * 32


@pytest.fixture
def tracked(server: Server) -> Iterator[Tracked]:
    """A connection as the engine's tracked one."""
    connection = Tracked(server)
    yield connection
    connection.close()


@pytest.fixture
def raw(server: Server) -> Iterator[Raw]:
    """Somebody else's connection."""
    connection = server.raw()
    yield connection
    connection.close()


def ask(client: Raw | Tracked, token: str = OURS, life_ms: int = 60_000) -> Any:
    return client("EVAL", GET_OR_LEASE.source, 3, VALUE, LEASE, ABSENT, token, life_ms, "")


def renew(client: Raw | Tracked, token: str = OURS, life_ms: int = 60_000) -> Any:
    return client("EVAL", RENEW.source, 1, LEASE, token, life_ms)


def read_back(client: Raw | Tracked, body: bytes = b"v") -> Any:
    return client("EVAL", READ_BACK.source, 1, VALUE, fingerprint(body))


def test_a_holder_s_lease_lives_anew(raw: Raw) -> None:
    ask(raw, life_ms=30_000)
    assert renew(raw, life_ms=60_000) == 1
    assert 30_000 < raw("PTTL", LEASE) <= 60_000
    assert raw("GET", LEASE) == f"{OURS}:".encode()


@pytest.mark.parametrize("there", [None, f"{THEIRS}:", "failed:KeyError"])
def test_nobody_else_s_lease_is_renewed_nor_a_lapsed_one_made(raw: Raw, there: str | None) -> None:
    if there is not None:
        raw("SET", LEASE, there, "PX", 30_000)
    assert renew(raw, life_ms=60_000) == 0
    assert raw("PTTL", LEASE) <= 30_000


@pytest.mark.parametrize("read", [True, False], ids=["read before", "not read before"])
def test_one_push_follows_a_renewal_s_reply_and_none_precedes_it(tracked: Tracked, raw: Raw, read: bool) -> None:
    ask(tracked if read else raw)
    tracked.pushed()
    for _ in range(3):
        assert renew(tracked) == 1
        tracked("PING")
        assert tracked.seen == [("reply", 1), ("push", [LEASE.encode()]), ("reply", b"PONG")]
        tracked.seen.clear()


def test_a_renewal_that_finds_another_holder_is_followed_by_no_push(tracked: Tracked, raw: Raw) -> None:
    ask(raw, THEIRS)
    assert renew(tracked) == 0
    assert tracked.pushed() == []


def test_an_invalidation_after_a_renewal_is_pushed_too(tracked: Tracked, raw: Raw) -> None:
    ask(tracked)
    renew(tracked)
    tracked.pushed()
    raw("DEL", LEASE)
    assert tracked.pushed() == [[LEASE.encode()]]


def test_an_invalidation_in_the_same_moment_is_a_second_push(tracked: Tracked, raw: Raw) -> None:
    ask(tracked)
    tracked.send(("EVAL", RENEW.source, 1, LEASE, OURS, 60_000))
    tracked.receive(1)
    raw("DEL", LEASE)
    assert tracked.pushed() == [[LEASE.encode()]] * 2


def test_a_renewal_is_pushed_to_those_who_wait(tracked: Tracked, raw: Raw) -> None:
    ask(raw, THEIRS)
    assert ask(tracked)[0] == b"wait"
    renew(raw, THEIRS)
    assert tracked.pushed() == [[LEASE.encode()]]


@pytest.mark.parametrize("life", [None, 3_600_000], ids=["for ever", "an hour, since the clock went back"])
@pytest.mark.parametrize("there", [f"{THEIRS}:", "failed:KeyError"])
def test_what_lives_longer_than_a_lease_can_has_lapsed(raw: Raw, life: int | None, there: str) -> None:
    raw("SET", LEASE, there, *(() if life is None else ("PX", life)))
    assert ask(raw, life_ms=60_000) == [b"lead"]
    assert raw("GET", LEASE) == f"{OURS}:".encode()
    assert raw("PTTL", LEASE) <= 60_000


def test_what_was_filled_is_read_back_with_its_lifetime_and_tracked(tracked: Tracked, raw: Raw) -> None:
    raw("SET", VALUE, "v", "PX", 60_000)
    assert 30_000 < read_back(tracked) <= 60_000
    raw("SET", VALUE, "w")
    assert tracked.pushed() == [[VALUE.encode()]]


@pytest.mark.parametrize("there", [("SET", VALUE, "w"), ("LPUSH", VALUE, "v"), ("DEL", VALUE)], ids=lambda one: one[0])
def test_what_is_another_by_now_is_not_read_back(raw: Raw, there: tuple[str, ...]) -> None:
    raw(*there)
    assert read_back(raw) == -3
