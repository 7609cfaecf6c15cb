"""`@room.cached`: the function is called as before, with its name, docstring and types."""

from __future__ import annotations

import asyncio
import functools
import gc
import inspect
import sys
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from fastapi import Depends, FastAPI
from starlette._utils import is_async_callable
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from greenroom import Greenroom, Keyspace, Number
from greenroom.cached import CachedFunction
from greenroom.caching import DropTarget, Outcome
from greenroom.errors import InvalidInput
from tests.support.asgi_server import served
from tests.support.proxy import proxy_of
from tests.support.real_servers import Server

MINUTES = timedelta(minutes=5)


class Episode(msgspec.Struct, frozen=True):
    show_id: str
    number: int
    version: int = 1


EPISODE = Keyspace("episode:{show_id}:{number}", Episode, parts={"number": Number(1, 99)}, ttl=MINUTES)


class Site:
    """A module: its room, its functions, and the record that they read."""

    def __init__(self, address: str) -> None:
        self.calls: list[tuple[str, int]] = []
        self.version = 1
        self.room = Greenroom(address, sessions=False)

        @self.room.cached(EPISODE, groups=["episodes:{show_id}"])
        async def episode(show_id: str, number: int = 1) -> Episode | None:
            """One episode of a show."""
            self.calls.append((show_id, number))
            return Episode(show_id, number, self.version) if number != 13 else None

        self.episode = episode


@pytest.fixture
def site(valkey: Server) -> Site:
    return Site(valkey.address)


def test_it_keeps_name_docstring_and_signature(site: Site) -> None:
    episode = site.episode
    assert isinstance(episode, CachedFunction)
    assert (episode.__name__, episode.__doc__, episode.__module__) == ("episode", "One episode of a show.", __name__)
    assert str(inspect.signature(episode)) == "(show_id: 'str', number: 'int' = 1) -> 'Episode | None'"
    assert repr(episode).startswith("<cached Site.__init__.<locals>.episode of Keyspace('episode:{show_id}:{number}'")


def test_it_is_seen_as_a_coroutine_function(site: Site) -> None:
    episode = site.episode
    for function in (episode.__call__, episode.get, episode.get_result, episode.get_many, episode.invalidate):
        assert inspect.iscoroutinefunction(function)
    assert asyncio.iscoroutinefunction(episode)
    assert is_async_callable(episode)
    if sys.version_info >= (3, 12):
        assert inspect.iscoroutinefunction(episode)


async def test_a_framework_awaits_it_as_route_dependency_and_behind(valkey: Server) -> None:
    room, threads, done = Greenroom(valkey.address, sessions=False), set[int](), asyncio.Event()

    @room.cached(Keyspace("page:{show_id}:{number}", dict[str, int], parts={"number": int}, ttl=MINUTES))
    async def page(show_id: str, number: int = 1) -> dict[str, int] | None:
        """One page."""
        threads.add(threading.get_ident())
        if number == 4:
            done.set()
        return {show_id: number}

    given = Depends(page)

    def depends(found: Any = given) -> Any:
        return found

    async def behind(request: Request) -> JSONResponse:
        return JSONResponse({"s1": 4}, background=BackgroundTask(page, "s1", 4))

    app = FastAPI()
    app.router.routes.append(Route("/behind/{show_id}", behind))
    app.add_api_route("/route/{show_id}", page)
    app.add_api_route("/depends/{show_id}", depends)
    async with room, served(app) as site, site.client() as client:
        for path, number in (("route", 1), ("route", 2), ("depends", 3), ("behind", 4)):
            answer = await client.get(f"/{path}/s1?number={number}")
            assert (answer.status_code, answer.json()) == (200, {"s1": number})
        async with asyncio.timeout(20):
            await done.wait()
    assert threads == {threading.get_ident()}


async def test_it_is_called_as_the_function_was(site: Site) -> None:
    episode = site.episode
    async with site.room:
        assert await episode("s1", 7) == await episode("s1", number=7) == await episode(show_id="s1", number=7)
        assert await episode("s1") == await episode("s1", 1) == Episode("s1", 1)
        assert await episode.get("s1", 13) is None
        assert site.calls == [("s1", 7), ("s1", 1), ("s1", 13)]
        assert await episode.load("s1", 7) == Episode("s1", 7)
        assert len(site.calls) == 4, "the function itself reads the record"
        assert (await episode.get_result("s1", 7)).outcome is Outcome.NEAR
        assert await episode.get_many([("s1", 7), {"show_id": "s1", "number": 8}]) == [
            *(Episode("s1", 7), Episode("s1", 8)),
        ]
        assert [one.outcome for one in await episode.get_results([("s1", 8)])] == [Outcome.NEAR]


async def test_the_cache_itself_is_called_and_loads_past_itself(site: Site) -> None:
    cache = site.episode.cache
    async with site.room:
        assert await cache("s1", 7) == await cache("s1", number=7) == Episode("s1", 7)
        assert site.calls == [("s1", 7)]
        site.version = 2
        assert await cache.load("s1", 7) == await cache.load(show_id="s1", number=7) == Episode("s1", 7, 2)
        assert await cache("s1", 7) == Episode("s1", 7)
        with pytest.raises(InvalidInput, match="number"):
            await cache.load("s1", "seven")
    assert is_async_callable(cache)


async def test_several_keys_are_filled_in_with_defaults_too(site: Site) -> None:
    episode = site.episode
    async with site.room:
        wanted = [Episode("s1", 1), Episode("s2", 1), Episode("s3", 3)]
        asked: list[object] = [("s1",), {"show_id": "s2"}, ("s3", 3)]
        assert await episode.get_many(asked) == wanted
        assert await episode.get_many(iter(asked)) == wanted
        assert [one.value for one in await episode.get_results(asked)] == wanted
        for wrong in ([()], [("s1", 1, 2)], ["s1"], "s1", ("s1", 1), {"show_id": "s1"}, 7):
            with pytest.raises(InvalidInput, match="parts:"):
                await episode.get_many(wrong)  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="takes the parts show_id, number"):
            await episode.get_many([{"number": 1}])


async def test_a_groups_part_with_a_default_is_filled_in_as_for_get(valkey: Server) -> None:
    room, version = Greenroom(valkey.address, sessions=False), 1

    @room.cached(EPISODE, groups=["shows:{show_id}", "numbers:{number}"])
    async def episode(show_id: str, number: int = 1) -> Episode | None:
        return Episode(show_id, number, version)

    async with room:
        for drop in (
            lambda: episode.invalidate_group("numbers:{number}"),
            lambda: episode.invalidate_group("numbers:{number}", 1),
            lambda: episode.invalidate_group("numbers:{number}", number=1),
            episode.group("numbers:{number}").drop,
            lambda: episode.invalidate_group("shows:{show_id}", "s1"),
        ):
            assert await episode("s1") == Episode("s1", 1, version)
            version += 1
            await drop()
        assert await episode("s1") == Episode("s1", 1, version)
        with pytest.raises(TypeError, match="takes the parts show_id; given"):
            episode.group("shows:{show_id}")
        with pytest.raises(TypeError, match="name one of them first"):
            episode.group()


async def test_a_part_that_is_missing_or_misspelt_is_an_error_and_one_of_types(site: Site) -> None:
    # mypy tells each of these, or its comment would be one too many.
    async with site.room:
        for call in (
            lambda: site.episode(),  # type: ignore[call-arg]
            lambda: site.episode("s1", nmuber=7),  # type: ignore[call-arg]
            lambda: site.episode("s1", 7, 8),  # type: ignore[call-arg]
            lambda: site.episode("s1", show_id="s1"),  # type: ignore[misc]
            lambda: site.episode.get_result("s1", nmuber=7),  # type: ignore[call-arg]
            lambda: site.episode.invalidate(),  # type: ignore[call-arg]
        ):
            with pytest.raises(TypeError, match="takes the parts show_id, number; given"):
                await call()
        with pytest.raises(InvalidInput, match="number: 'seven' is not a whole number"):
            await site.episode("s1", "seven")  # type: ignore[arg-type]
    assert site.calls == []


async def test_peek_gives_what_is_near_and_asks_nobody(valkey: Server) -> None:
    async with proxy_of(valkey) as proxy:
        site = Site(proxy.address)
        async with site.room:
            assert site.episode.peek("s1", 7) is None
            assert await site.episode("s1", 7) == await site.episode("s1", 7) == site.episode.peek("s1", 7)
            held = proxy.hold("DEL")
            dropping = asyncio.ensure_future(site.episode.invalidate("s1", 7))
            await held.reached.wait()
            assert site.episode.peek("s1", 7) is None, "its drop is under way"
            held.release()
            await dropping
            assert site.episode.peek("s1", 7) is None
            assert len(site.calls) == 1


async def test_a_change_drops_what_it_makes_stale_before_and_after(site: Site) -> None:
    episode, room = site.episode, site.room
    async with room:
        await episode.get_many([("s1", 1), ("s1", 2), ("s2", 1)])
        async with room.changing(episode.of("s1", 1), episode.group("s2")):
            assert [episode.peek("s1", 1), episode.peek("s2", 1)] == [None, None]
            assert await episode("s1", 1) == Episode("s1", 1), "as it was: the change is not committed"
            site.version = 2
        assert await episode.get_many([("s1", 1), ("s1", 2), ("s2", 1)]) == [
            *(Episode("s1", 1, 2), Episode("s1", 2), Episode("s2", 1, 2)),
        ]


@pytest.mark.parametrize("wrong", ["the function", "a key", "parts", "a list", "a coroutine"])
async def test_a_change_of_what_is_no_target_is_refused_at_the_call(site: Site, wrong: str) -> None:
    episode, dropped = site.episode, list[str]()

    async def drop() -> None:
        dropped.append("a")

    target = DropTarget("a", drop)
    given: dict[str, Callable[[], Any]] = {
        "the function": lambda: episode,
        "a key": lambda: "episode:s1:1",
        "parts": lambda: ("s1", 1),
        "a list": lambda: [target],
        "a coroutine": lambda: episode.invalidate("s1", 1),
    }
    async with site.room:
        with pytest.raises(InvalidInput) as caught:
            site.room.changing(target, given[wrong]())
        gc.collect()
    assert (caught.value.field, caught.value.remedy) == ("stale", "give episode.of(…) or episode.group(…)")
    assert dropped == []


@pytest.mark.parametrize("way", ["raises", "is cancelled"])
async def test_a_change_drops_on_every_way_out(site: Site, way: str) -> None:
    episode, room = site.episode, site.room

    async def change() -> None:
        async with room.changing(episode.of("s1", 1)):
            await episode("s1", 1)
            site.version = 2
            if way == "raises":
                raise KeyError("after the commit")
            await asyncio.sleep(60)

    async with room:
        changing = asyncio.create_task(change())
        while site.version == 1:
            await asyncio.sleep(0)
        changing.cancel()
        with pytest.raises((KeyError, asyncio.CancelledError)):
            await changing
        assert await episode("s1", 1) == Episode("s1", 1, 2)


async def test_a_change_without_the_server_raises_nothing_and_is_kept(valkey: Server) -> None:
    async with proxy_of(valkey) as proxy:
        site = Site(proxy.address)
        episode = site.episode
        async with site.room:
            await episode("s1", 1)
            await proxy.cut()
            async with site.room.changing(episode.of("s1", 1), episode.group("s1")):
                site.version = 2
            assert await episode("s1", 1) == Episode("s1", 1, 2)


@pytest.mark.parametrize(
    "load",
    [
        lambda number, show_id: None,
        lambda show_id: None,
        lambda show, number: None,
        lambda *parts: None,
        lambda show_id, number, **more: None,
        Site.__init__,
        functools.partial(lambda show_id, number: None, "s1"),
        7,
    ],
)
def test_a_function_with_other_parameters_is_refused_when_decorated(load: Any) -> None:
    room = Greenroom(sessions=False)
    with pytest.raises(InvalidInput) as caught:
        room.cached(EPISODE)(load)
    assert caught.value.field == "load"
    assert list(room._caches) == []
