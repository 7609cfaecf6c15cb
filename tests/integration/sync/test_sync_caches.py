"""Caches from threads: the promises of `greenroom.Cache`, without `await`."""

from __future__ import annotations

import asyncio
import inspect
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from datetime import timedelta
from functools import partial
from types import ModuleType
from typing import Any

import pytest

from greenroom import Greenroom as AsyncGreenroom
from greenroom import Keyspace, Loaded, Outcome
from greenroom.caching.cache import Cache as AsyncCache
from greenroom.cli.lookup import declared_at
from greenroom.errors import InvalidInput, RoomClosed, RoomElsewhere
from greenroom.sync import Greenroom, process
from tests.support.patience import wait_for
from tests.support.real_servers import Server
from tests.support.sync_rooms import EPISODE, MINUTES, Episode, Record, together


def test_a_room_opens_itself_at_the_first_call(room: Greenroom) -> None:
    record = Record()
    episode = room.cached(EPISODE)(record.load)
    assert episode("s1", 7) == Episode("s1", 7)
    assert episode.get_result("s1", 7).outcome is Outcome.NEAR
    assert record.loads == [("s1", 7)]


def test_a_cached_function_keeps_name_docstring_and_signature(room: Greenroom) -> None:
    episode = room.cached(EPISODE)(Record().load)
    assert (episode.__name__, episode.__doc__) == ("load", "One episode of a show.")
    assert list(inspect.signature(episode).parameters) == ["show_id", "number"]


def test_a_plain_loader_runs_in_the_thread_that_missed(room: Greenroom) -> None:
    record = Record()
    episode = room.cached(EPISODE)(record.load)
    episode("s1", 1)
    together([lambda: episode("s1", 2)])
    episode.get_many([("s1", number) for number in range(3, 9)])
    assert record.threads[0] is threading.current_thread()
    assert record.threads[1] is not threading.current_thread()
    assert record.threads[2:] == [threading.current_thread()] * 6


def test_an_async_loader_is_called_without_await(room: Greenroom) -> None:
    @room.cached(EPISODE)
    async def episode(show_id: str, number: int) -> Episode:
        await asyncio.sleep(0)
        return Episode(show_id, number, 3)

    assert episode("s1", 1) == Episode("s1", 1, 3)
    assert episode.cache.load("s1", 2) == Episode("s1", 2, 3)


@pytest.mark.parametrize("near_for", [timedelta(0), MINUTES], ids=["far", "near"])
def test_a_value_that_the_server_has_is_read_without_a_task(
    make_room: Callable[..., Greenroom], monkeypatch: pytest.MonkeyPatch, near_for: timedelta
) -> None:
    record, room = Record(), make_room()
    make_room().cached(EPISODE)(record.load)("s1", 1)
    episode = room.cached(EPISODE, near_for=near_for)(record.load)
    room.open()
    tasks = list[object]()

    async def task(*_: object, **__: object) -> Episode | None:
        tasks.append(_)
        return None

    monkeypatch.setattr(episode.cache.asynchronous, "get", task)
    assert episode("s1", 1) == Episode("s1", 1)
    assert not tasks
    assert room.counters.reads[EPISODE.name, "hit"] == 1
    monkeypatch.undo()
    assert episode.get_result("s1", 1).outcome is (Outcome.NEAR if near_for else Outcome.HIT)


@pytest.mark.own_limits
def test_a_read_without_an_answer_is_loaded_in_its_thread(
    room: Greenroom, valkey: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = Record()
    episode = room.cached(EPISODE, near_for=timedelta(0))(record.load)
    assert episode("s1", 1) == Episode("s1", 1)
    with valkey.frozen():
        record.version = 2
        monkeypatch.delattr(AsyncCache, "get")  # asked anew, it would take the time of two calls
        assert episode("s1", 1) == Episode("s1", 1, 2)
    assert record.threads == [threading.current_thread()] * 2


def test_a_stale_value_that_is_far_is_given_and_refreshed_behind(room: Greenroom, valkey: Server) -> None:
    keyspace = Keyspace("fading:{show_id}:{number}", Episode, parts={"number": int}, ttl=2 * MINUTES, fresh=MINUTES)
    record, raw = Record(), valkey.raw()
    episode = room.cached(keyspace, near_for=timedelta(0))(record.load)
    episode("s1", 1)
    raw("PEXPIRE", keyspace.key("s1", 1), 60_000)  # as when nine minutes have passed
    record.version = 2
    assert episode("s1", 1) == Episode("s1", 1, 1)
    wait_for(lambda: len(record.loads) == 2)
    wait_for(lambda: episode("s1", 1) == Episode("s1", 1, 2))
    raw.close()


@pytest.mark.parametrize("stored", [b"[]", None, b'{"show_id":"s1","number":1,"version":9}'])
def test_what_a_far_read_finds_is_mended_as_in_the_async_face(
    room: Greenroom, valkey: Server, stored: bytes | None
) -> None:
    record, raw = Record(), valkey.raw()
    episode = room.cached(EPISODE)(record.load)
    episode("s1", 2)
    key = EPISODE.key("s1", 1)
    if stored is not None:
        raw("SET", key, stored)  # for ever
    version = 9 if stored is not None and b"9" in stored else 1
    assert episode("s1", 1) == Episode("s1", 1, version)
    assert 0 < raw("PTTL", key) <= 300_000
    raw.close()


def test_several_keys_come_in_the_order_asked(room: Greenroom) -> None:
    record = Record()
    episode = room.cached(EPISODE)(record.load)
    episode("s1", 2)
    asked = [("s1", 3), {"show_id": "s1", "number": 2}, ("s1", 13), ("s1", 3)]
    expected = [Episode("s1", 3), Episode("s1", 2), None, Episode("s1", 3)]
    assert episode.get_many(asked) == expected
    assert sorted(record.loads) == [("s1", 2), ("s1", 3), ("s1", 13)]


def test_a_batch_loader_runs_in_the_thread_that_missed(room: Greenroom) -> None:
    threads = list[threading.Thread]()

    def many(parts: Sequence[dict[str, Any]]) -> list[Episode]:
        threads.append(threading.current_thread())
        return [Episode(one["show_id"], one["number"], 5) for one in parts]

    episode = room.cache(EPISODE, load=Record().load, load_many=many)
    assert episode.get_many([("s1", 1), ("s1", 2)]) == [Episode("s1", 1, 5), Episode("s1", 2, 5)]
    assert threads == [threading.current_thread()]


def test_an_invalidation_is_seen_by_every_thread_and_room(make_room: Callable[..., Greenroom]) -> None:
    record = Record()
    here, there = (make_room().cached(EPISODE)(record.load) for _ in range(2))
    assert here("s1", 1) == there("s1", 1) == Episode("s1", 1, 1)
    record.version = 2
    here.invalidate("s1", 1)
    assert here("s1", 1) == Episode("s1", 1, 2)
    assert together([lambda: there("s1", 1)]) == [Episode("s1", 1, 2)]


def test_changing_drops_values_and_groups_on_every_way_out(room: Greenroom) -> None:
    record = Record()
    episode = room.cached(EPISODE, groups=["episodes:{show_id}"])(record.load)
    for leave in (None, RuntimeError()):
        before = episode.get_many([("s1", 1), ("s2", 1), ("s2", 2)])
        assert before == [Episode(show, number, record.version) for show, number in (("s1", 1), ("s2", 1), ("s2", 2))]
        try:
            with room.changing(episode.of("s1", 1), episode.group("s2")):
                record.version += 1
                if leave:
                    raise leave
        except RuntimeError:
            assert leave
        assert [one.version for one in episode.get_many([("s1", 1), ("s2", 1), ("s2", 2)]) if one] == [
            record.version
        ] * 3
    with pytest.raises(InvalidInput, match=r"episode\.of"), room.changing("s1"):  # type: ignore[arg-type]
        raise AssertionError


def test_a_loader_may_call_other_caches_and_stores(room: Greenroom) -> None:
    inner = room.cached(EPISODE)(Record().load)
    outer = room.cache(Keyspace("outer:{id}", Episode, ttl=MINUTES), load=lambda id: inner("s1", int(id)))
    assert outer("4") == Episode("s1", 4)


class Broken(Exception):
    """Takes two arguments, and gives its parent one."""

    def __init__(self, what: str, how: str) -> None:
        super().__init__(f"{what}: {how}")
        self.how = how


def test_a_loaders_exception_has_the_traceback_of_its_caller(room: Greenroom) -> None:
    error = Broken("the row", "is gone")

    def load(show_id: str, number: int) -> Episode:
        raise error

    episode = room.cached(EPISODE)(load)
    with pytest.raises(Broken) as caught:
        episode("s1", 1)
    assert caught.value is error
    names = [frame.name for frame in traceback.extract_tb(error.__traceback__)]
    assert names[0] == "test_a_loaders_exception_has_the_traceback_of_its_caller"
    assert names[-1] == "load"


def test_each_thread_that_waited_gets_an_exception_of_its_own(room: Greenroom) -> None:
    go = threading.Event()

    def load(show_id: str, number: int) -> Episode:
        go.wait()
        raise Broken("the row", "is gone")

    episode, caught = room.cached(EPISODE)(load), list[Broken]()

    def in_its_thread() -> None:
        try:
            episode("s1", 1)
        except Broken as error:
            caught.append(error)

    threads = [threading.Thread(target=in_its_thread) for _ in range(3)]
    for thread in threads:
        thread.start()
    while room._portal is None or len(process.portal().running) < 3:
        go.wait(0.001)
    go.set()
    for thread in threads:
        thread.join()
    assert len({id(error) for error in caught}) == 3
    assert {(str(error), error.how) for error in caught} == {("the row: is gone", "is gone")}
    for error in caught:
        names = [frame.name for frame in traceback.extract_tb(error.__traceback__)]
        assert names.count("in_its_thread") == 1
        assert names[-1] == "load"


def test_inside_a_running_loop_an_error_names_the_async_face(room: Greenroom) -> None:
    episode = room.cached(EPISODE)(Record().load)

    async def calls() -> None:
        for call in (partial(episode, "s1", 1), room.open, room.health):
            with pytest.raises(RoomElsewhere, match=r"from greenroom import Greenroom.*await cache\.aget"):
                call()

    asyncio.run(calls())
    assert episode("s1", 1) == Episode("s1", 1)
    asyncio.run(read_in_a_thread(episode))


async def read_in_a_thread(episode: Callable[..., Episode | None]) -> None:
    assert await asyncio.to_thread(episode, "s1", 1) == Episode("s1", 1)


def test_a_closed_room_says_so_until_it_is_opened_again(room: Greenroom) -> None:
    record = Record()
    episode = room.cached(EPISODE)(record.load)
    with room:
        episode("s1", 1)
    with pytest.raises(RoomClosed, match=r"room\.open"):
        episode("s1", 1)
    room.open()
    assert episode("s1", 1) == Episode("s1", 1)
    assert record.loads == [("s1", 1)]


def test_a_cache_declared_while_the_room_is_open_answers(room: Greenroom) -> None:
    room.open()
    record = Record()
    first, second = (room.cache(EPISODE, load=record.load) for _ in range(2))
    assert first is second
    assert first.get("s1", 1) == Episode("s1", 1)
    with pytest.raises(InvalidInput, match="differs in load"):
        room.cache(EPISODE, load=Record().load)


def test_what_a_transaction_loads_is_neither_shared_nor_stored(make_room: Callable[..., Greenroom]) -> None:
    record, inside = Record(), threading.local()
    room = make_room(in_transaction=lambda: getattr(inside, "open", False))
    episode = room.cached(EPISODE)(record.load)
    inside.open, record.version = True, 99
    assert episode("s1", 1) == Episode("s1", 1, 99)
    assert episode.get_many([("s1", 1)]) == [Episode("s1", 1, 99)]
    record.version = 1
    assert together([lambda: episode("s1", 1)]) == [Episode("s1", 1, 1)]
    assert episode("s1", 1) == Episode("s1", 1, 1), "what others have stored is given in a transaction too"
    inside.open = False
    assert len(record.loads) == 3


def test_a_loader_that_says_how_long_its_value_lives_is_heard(room: Greenroom) -> None:
    record = Record()

    @room.cached(EPISODE)
    def episode(show_id: str, number: int) -> Loaded[Episode]:
        return Loaded(record.load(show_id, number), store=False)

    assert episode("s1", 1) == episode("s1", 1) == Episode("s1", 1)
    assert len(record.loads) == 2


def test_a_keyspace_is_dropped_and_deleted_and_the_room_described(room: Greenroom) -> None:
    record = Record()
    episode = room.cached(EPISODE)(record.load)
    with pytest.raises(RoomClosed):
        room.state()
    assert {one.name for one in room.declarations.keyspaces} == {"cache_episode", "session"}
    episode.get_many([("s1", 1), ("s1", 2)])
    room.ready()
    assert room.unavailable is None
    assert room.health().ok
    assert room.state().near_entries == 2
    record.version = 2
    room.drop_keyspace(EPISODE)
    assert episode("s1", 1) == Episode("s1", 1, 2)
    assert room.delete_keyspace(EPISODE) == 2
    record.version = 3
    assert episode("s1", 1) == Episode("s1", 1, 3)


def test_a_refresh_behind_runs_in_another_thread_and_the_hook_after_it(make_room: Callable[..., Greenroom]) -> None:
    refreshed, after = threading.Event(), list[threading.Thread]()

    def cleaned() -> None:
        after.append(threading.current_thread())
        refreshed.set()

    room, threads = make_room(after_background_load=cleaned), list[threading.Thread]()
    soon = Keyspace("soon:{show_id}", Episode, ttl=MINUTES, fresh=timedelta(milliseconds=20), jitter=0)

    def load(show_id: str) -> Episode:
        threads.append(threading.current_thread())
        return Episode(show_id, len(threads))

    stale = room.cache(soon, load=load)
    stale("s1")
    while not refreshed.wait(0.01):
        stale("s1")
    assert threads[0] is threading.current_thread()
    assert after[0] is threads[1] is not threading.current_thread()


def test_each_plain_load_runs_in_the_context_that_is_asked_for(make_room: Callable[..., Greenroom]) -> None:
    tenant, entered = ContextVar("tenant", default="nobody's"), list[str]()

    @contextmanager
    def around() -> Iterator[None]:
        entered.append("in")
        yield
        entered.append("out")

    room, seen = make_room(around_load=around), list[str]()

    def load(show_id: str, number: int) -> Episode:
        assert entered[-1] == "in"
        seen.append(tenant.get())
        return Episode(show_id, number)

    episode = room.cached(EPISODE)(load)
    tenant.set("the first caller's")
    episode("s1", 1)
    assert (seen, entered) == (["nobody's"], ["in", "out"])


def test_the_commands_read_what_a_room_of_threads_declares(room: Greenroom, monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("shop_of_threads")
    module.room = room  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    room.cache(EPISODE, load=Record().load)
    assert "cache_episode" in [one.name for one in declared_at("MODULE:NAME", "shop_of_threads:room").keyspaces]


def test_a_room_cannot_be_closed_where_a_loop_runs_and_stays_open(room: Greenroom) -> None:
    episode = room.cached(EPISODE)(Record().load)
    episode("s1", 1)

    async def close() -> None:
        with pytest.raises(RoomElsewhere):
            room.close()

    asyncio.run(close())
    assert episode("s1", 2) == Episode("s1", 2)
    room.close()

    async def opened() -> None:
        with pytest.raises(RoomElsewhere):
            room.open()

    asyncio.run(opened())
    with pytest.raises(RoomClosed):
        episode("s1", 3)
    room.open()
    assert episode("s1", 4) == Episode("s1", 4)


def test_a_read_that_misses_while_the_room_is_closed_says_so(room: Greenroom, caplog: pytest.LogCaptureFixture) -> None:
    episode = room.cached(EPISODE)(Record().load)
    room.open()
    plain, missed = episode.cache._plain, threading.Event()
    assert plain is not None
    keys = plain._keys

    def held(*args: Any) -> list[str]:
        """In the loop, when the load begins: until the other thread has begun to close."""
        missed.set()
        wait_for(lambda: room._portal is None)
        return keys(*args)

    plain._keys = held  # type: ignore[method-assign, assignment]

    def close() -> str:
        missed.wait(30)
        room.close()
        return ""

    def read() -> str:
        with pytest.raises(RoomClosed):
            episode("s1", 1)
        return ""

    together([read, close])
    assert not caplog.records


async def later(show_id: str, number: int) -> Episode:
    return Episode(show_id, number)


@pytest.mark.parametrize("inside", [False, True])
def test_what_a_plain_loader_returns_is_awaited_everywhere(make_room: Callable[..., Greenroom], inside: bool) -> None:
    room = make_room(in_transaction=lambda: inside)
    episode = room.cache(EPISODE, load=lambda show_id, number: later(show_id, number))
    assert episode.load("s1", 1) == Episode("s1", 1)
    assert episode.get("s1", 1) == Episode("s1", 1)
    assert episode.get_many([("s1", 2)]) == [Episode("s1", 2)]


def test_a_batch_loader_beside_an_async_one_runs_in_no_open_transaction(make_room: Callable[..., Greenroom]) -> None:
    threads, inside = list[threading.Thread](), threading.local()
    room = make_room(in_transaction=lambda: getattr(inside, "open", False))

    def load_many(keys: Sequence[dict[str, Any]]) -> list[Episode]:
        threads.append(threading.current_thread())
        return [Episode(**key) for key in keys]

    episode = room.cache(EPISODE, load=later, load_many=load_many)
    inside.open = True
    assert episode.get_many([("s1", 1)]) == [Episode("s1", 1)]
    inside.open = False
    assert episode.get_many([("s1", 2)]) == [Episode("s1", 2)]
    assert [thread is threading.current_thread() for thread in threads] == [False, True]


@pytest.mark.parametrize("kind", [SystemExit, asyncio.CancelledError, GeneratorExit])
def test_a_loader_that_ends_its_thread_lets_nobody_else_wait(room: Greenroom, kind: type[BaseException]) -> None:
    loads = list[threading.Thread]()

    def load(show_id: str, number: int) -> Episode:
        loads.append(threading.current_thread())
        if len(loads) < 3:
            raise kind
        return Episode(show_id, number)

    episode = room.cache(EPISODE, load=load, loader_deadline=timedelta(minutes=10), failures_for=timedelta(0))
    with pytest.raises(kind):
        episode.get("s1", 1)
    wait_for(lambda: len(loads) == 2)  # the load goes on without the thread, and meets the same
    with suppress(RuntimeError):
        together([lambda: episode.get("s1", 1)], 20)
    assert episode.get("s1", 1) == Episode("s1", 1)


@pytest.mark.parametrize("face", [Greenroom, AsyncGreenroom])
def test_what_is_no_keyspace_is_named_where_a_function_is_decorated(face: Callable[[str], Any]) -> None:
    with pytest.raises(InvalidInput, match="keyspace: is str, not a Keyspace; give a Keyspace"):
        face("valkey://127.0.0.1:1").cached("episode:{sku}")(lambda sku: sku)
