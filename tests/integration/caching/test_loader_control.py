"""What a loader may say of its own answer: how long it is kept, whether at all, and which exceptions are answers."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from greenroom import Greenroom, Keyspace, Loaded, Outcome
from greenroom.errors import InvalidInput, LoadFailed
from greenroom.integrations.problems import problem_of
from tests.support.episode_caches import ABSENT, EPISODE, KEY, LEASE, Episode
from tests.support.patience import SteadyClock, until
from tests.support.real_servers import Server

pytestmark = pytest.mark.one_kind

HARD = Keyspace("cache:hard:{episode_id}", Episode, ttl=timedelta(minutes=30))
E1 = Episode("e1")
MINUTE = timedelta(minutes=1)


class Forbidden(Exception):
    """An answer of a loader."""


@pytest.fixture
async def room(server: Server) -> AsyncIterator[Greenroom]:
    async with Greenroom(server.address, clock=SteadyClock()) as room:
        yield room


def gives(answer: Any) -> Any:
    """A loader with this answer."""

    async def load(episode_id: str) -> Any:
        return answer

    return load


# Lifetimes ------------------------------------------------------------------------------------------


async def test_a_value_lives_as_long_as_its_loader_says(room: Greenroom, server: Server) -> None:
    cache = room.cache(HARD, load=gives(Loaded(E1, ttl=MINUTE)))
    assert await cache.get("e1") == E1
    assert 50_000 < server.raw()("PTTL", "cache:hard:e1") <= 60_000


async def test_a_lifetime_over_the_keyspace_s_is_cut_to_it(room: Greenroom, server: Server) -> None:
    await room.cache(HARD, load=gives(Loaded(E1, ttl=timedelta(days=1)))).get("e1")
    assert 1_700_000 < server.raw()("PTTL", "cache:hard:e1") <= 1_800_000


async def test_a_value_is_fresh_for_as_long_as_its_loader_says(room: Greenroom, server: Server) -> None:
    cache = room.cache(EPISODE, load=gives(Loaded(E1, fresh=MINUTE)), near_for=timedelta(0))
    await cache.get("e1")
    # The stale time is the keyspace's: a quarter of an hour after the minute.
    assert 950_000 < server.raw()("PTTL", KEY) <= 960_000
    result = await cache.get_result("e1")
    assert result.outcome is Outcome.HIT
    assert result.ttl is not None
    assert 50 < result.ttl <= 60


async def test_an_absence_is_remembered_for_as_long_as_its_loader_says(room: Greenroom, server: Server) -> None:
    assert await room.cache(EPISODE, load=gives(Loaded(None, ttl=timedelta(minutes=2)))).get("e1") is None
    assert 110_000 < server.raw()("PTTL", ABSENT) <= 120_000


async def test_what_is_not_to_be_stored_is_for_those_who_wait(room: Greenroom, server: Server) -> None:
    go, calls = asyncio.Event(), list[str]()

    async def load(episode_id: str) -> Loaded[Episode]:
        calls.append(episode_id)
        await go.wait()
        return Loaded(Episode(episode_id, len(calls)), store=False)

    cache = room.cache(EPISODE, load=load)
    waiting = [asyncio.create_task(cache.get_result("e1")) for _ in range(3)]
    await until(lambda: calls)
    go.set()
    results = await asyncio.gather(*waiting)
    assert [result.value for result in results] == [Episode("e1", 1)] * 3
    assert not any(result.stored for result in results)
    await until(lambda: not server.raw()("EXISTS", KEY, LEASE))
    assert await cache.get("e1") == Episode("e1", 2), "the next one loads"
    assert cache.peek("e1") is None


async def test_without_the_server_it_is_not_kept_either(room: Greenroom, server: Server) -> None:
    calls = list[str]()

    async def load(episode_id: str) -> Loaded[Episode]:
        calls.append(episode_id)
        return Loaded(E1, store=False)

    cache = room.cache(EPISODE, load=load)
    server.kill()
    for _ in range(2):
        assert (await cache.get_result("e1")).outcome is Outcome.BYPASSED
    assert calls == ["e1"] * 2


async def test_a_batch_may_say_it_of_each_value(room: Greenroom, server: Server) -> None:
    async def load_many(ids: Sequence[str]) -> list[Episode | Loaded[Episode] | None]:
        return [Loaded(Episode("e1"), ttl=MINUTE), Episode("e2"), Loaded(Episode("e3"), store=False)]

    cache = room.cache(HARD, load=gives(None), load_many=load_many)
    assert await cache.get_many(["e1", "e2", "e3"]) == [Episode("e1"), Episode("e2"), Episode("e3")]
    raw = server.raw()
    assert 50_000 < raw("PTTL", "cache:hard:e1") <= 60_000
    assert raw("PTTL", "cache:hard:e2") > 60_000
    assert raw("EXISTS", "cache:hard:e3") == 0


async def test_load_gives_the_value_alone(room: Greenroom) -> None:
    assert await room.cache(EPISODE, load=gives(Loaded(E1, fresh=MINUTE))).load("e1") == E1


@pytest.mark.parametrize(
    ("keyspace", "answer", "words"),
    [
        (HARD, Loaded(E1, fresh=MINUTE), r"^fresh: .* no soft lifetime; .*Loaded\(…, ttl=…\)"),
        (EPISODE, Loaded(E1, ttl=MINUTE), r"^ttl: .* soft lifetime, .*Loaded\(…, fresh=…\)"),
    ],
)
async def test_a_time_that_the_keyspace_has_no_place_for_is_named(
    room: Greenroom, keyspace: Keyspace[Episode], answer: Loaded[Episode], words: str
) -> None:
    with pytest.raises(LoadFailed) as caught:  # no InvalidInput: whoever asked has given nothing wrong
        await room.cache(keyspace, load=gives(answer)).get("e1")
    assert isinstance(caught.value.__cause__, InvalidInput)
    assert re.search(words, str(caught.value.__cause__))


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("ttl", {"ttl": 60}),
        ("ttl", {"ttl": timedelta(0)}),
        ("fresh", {"fresh": -MINUTE}),
        ("store", {"store": 1}),
        ("ttl", {"ttl": MINUTE, "store": False}),
    ],
)
def test_what_no_value_can_have_is_refused_where_it_is_said(name: str, options: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput, match=rf"^{name}: ") as caught:
        Loaded(E1, **options)
    assert caught.value.remedy


# Failures -------------------------------------------------------------------------------------------


async def test_an_exception_that_passes_is_neither_remembered_nor_counted(
    room: Greenroom, server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    calls = list[str]()

    async def load(episode_id: str) -> Episode:
        calls.append(episode_id)
        raise Forbidden(len(calls))

    cache = room.cache(EPISODE, load=load, passes=(Forbidden,))
    with caplog.at_level(logging.INFO):
        for number in (1, 2, 3):
            with pytest.raises(Forbidden) as caught:
                await cache.get("e1")
            assert caught.value.args == (number,)
    assert calls == ["e1"] * 3
    assert room.counters.errors["cache_episode", "load"] == 0
    assert not [line for line in caplog.records if "failed" in line.message]
    await until(lambda: not server.raw()("EXISTS", LEASE))


async def test_all_who_wait_get_the_exception_that_passes(room: Greenroom, server: Server) -> None:
    go, calls = asyncio.Event(), list[str]()

    async def load(episode_id: str) -> Episode:
        calls.append(episode_id)
        await go.wait()
        raise Forbidden

    cache = room.cache(EPISODE, load=load, passes=(Forbidden,))
    async with Greenroom(server.address) as other:
        elsewhere = other.cache(EPISODE, load=load, passes=(Forbidden,))
        waiting = [asyncio.create_task(one.get("e1")) for one in (cache, cache, elsewhere)]
        await until(lambda: calls)
        go.set()
        results = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(result) for result in results] == [Forbidden] * 3


async def test_an_exception_of_another_kind_is_remembered_all_the_same(room: Greenroom) -> None:
    async def load(episode_id: str) -> Episode:
        raise LookupError

    cache = room.cache(EPISODE, load=load, passes=(Forbidden,))
    with pytest.raises(LookupError):
        await cache.get("e1")
    with pytest.raises(LoadFailed):
        await cache.get("e1")


class Refusing(msgspec.Struct, frozen=True):
    """A loader that something refuses.

    Arguments:
        refused: what it does.
    """

    refused: Callable[[], object]

    async def load(self, episode_id: str) -> Episode | None:
        self.refused()
        return E1

    async def load_many(self, episode_ids: Sequence[str]) -> list[Episode | None]:
        self.refused()
        return [E1 for _ in episode_ids]


REFUSED: list[Callable[[], object]] = [
    lambda: EPISODE.key("what the record holds"),
    lambda: EPISODE.key(),
    lambda: Loaded(E1, ttl=timedelta(0)),
]
"""What raises `InvalidInput` in a loader: a key of another cache, its parts, a lifetime."""


@pytest.mark.parametrize("way", ["get", "get_many", "without the server"])
@pytest.mark.parametrize("refused", REFUSED)
async def test_what_is_refused_in_a_loader_is_no_mistake_of_its_caller(
    room: Greenroom, server: Server, refused: Callable[[], object], way: str
) -> None:
    loader = Refusing(refused)
    cache = room.cache(EPISODE, load=loader.load, load_many=loader.load_many)
    if way == "without the server":
        server.kill()
    for _ in range(2):  # the second is held back, and told the same
        with pytest.raises(LoadFailed) as caught:
            await (cache.get_many(["e1"]) if way == "get_many" else cache.get("e1"))
        assert isinstance(caught.value.__cause__, InvalidInput)
        assert problem_of(caught.value).status == 503
    with pytest.raises(InvalidInput):
        await cache.get("no key")


async def test_a_refusal_that_the_cache_passes_is_its_caller_s(room: Greenroom) -> None:
    cache = room.cache(EPISODE, load=Refusing(REFUSED[0]).load, passes=(InvalidInput,))
    with pytest.raises(InvalidInput):
        await cache.get("e1")


async def test_a_failure_is_remembered_for_as_long_as_its_cache_says(room: Greenroom, server: Server) -> None:
    async def load(episode_id: str) -> Episode:
        raise LookupError

    cache = room.cache(EPISODE, load=load, failures_for=timedelta(seconds=30))
    with pytest.raises(LookupError):
        await cache.get("e1")
    await until(lambda: server.raw()("GET", LEASE) == b"failed:LookupError")
    assert 20_000 < server.raw()("PTTL", LEASE) <= 30_000
    with pytest.raises(LoadFailed) as caught:
        await cache.get("e1")
    assert isinstance(caught.value.__cause__, LookupError)
    async with Greenroom(server.address) as other:
        elsewhere = other.cache(EPISODE, load=gives(E1))
        with pytest.raises(LoadFailed):
            await elsewhere.get("e1")
        await cache.invalidate("e1")
        assert await elsewhere.get("e1") == E1, "a change ends it"


async def test_failures_of_no_time_hold_nobody_back(room: Greenroom) -> None:
    calls = list[str]()

    async def load(episode_id: str) -> Episode:
        calls.append(episode_id)
        if len(calls) == 1:
            raise LookupError
        return E1

    cache = room.cache(EPISODE, load=load, failures_for=timedelta(0))
    with pytest.raises(LookupError):
        await cache.get("e1")
    assert await cache.get("e1") == E1


async def test_a_refresh_that_an_exception_passes_leaves_the_stale_value(
    room: Greenroom, server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    async def load(episode_id: str) -> Episode:
        raise Forbidden

    server.raw()("SET", KEY, b'{"episode_id":"e1","version":1}', "EX", 600)
    cache = room.cache(EPISODE, load=load, passes=(Forbidden,), near_for=timedelta(0))
    with caplog.at_level(logging.INFO, "greenroom"):
        assert await cache.get("e1") == E1
        await until(lambda: sum(room.counters.loads["cache_episode"].counts) and not cache._ladder.refreshes._tasks)
    assert [line.levelname for line in caplog.records if "refreshing" in line.message] == ["INFO"]
    assert await cache.get("e1") == E1


async def test_a_decorated_function_keeps_the_type_of_its_values(room: Greenroom) -> None:
    @room.cached(EPISODE, passes=(Forbidden,))
    async def episode(episode_id: str) -> Episode | Loaded[Episode] | None:
        return Loaded(E1, fresh=MINUTE)

    value: Episode | None = await episode("e1")
    assert value == E1


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("failures_for", 1.0),
        ("failures_for", timedelta(seconds=-1)),
        ("failures_for", timedelta(minutes=2)),
        ("passes", Forbidden),
        ("passes", (Forbidden(),)),
        ("passes", (asyncio.CancelledError,)),
    ],
)
def test_options_that_cannot_work_are_refused_by_their_names(name: str, value: object) -> None:
    options: dict[str, Any] = {name: value}
    with pytest.raises(InvalidInput, match=rf"^{name}: "):
        Greenroom().cache(EPISODE, load=gives(E1), **options)
