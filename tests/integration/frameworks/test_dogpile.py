"""The backend for dogpile.cache: dogpile's own suites, other processes, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from math import inf, nan
from threading import Event
from typing import Any
from unittest.mock import Mock

import pytest
from dogpile.cache import make_region
from dogpile.cache.api import NO_VALUE
from dogpile.testing.fixtures import _GenericBackendTestSuite, _GenericMutexTestSuite, _GenericSerializerTestSuite

from greenroom.errors import EngineUnavailable, InvalidInput
from greenroom.integrations.dogpile import GreenroomBackend
from greenroom.sync import Greenroom
from tests.support.kept_servers import KeptServers
from tests.support.real_servers import Server, valkey_binary
from tests.support.sync_rooms import together


@pytest.fixture(scope="class")
def _suite(request: pytest.FixtureRequest, kept: KeptServers) -> Iterator[None]:
    """A room for a suite; its classes take their arguments from a class attribute."""
    with kept.lent(valkey_binary()) as server, Greenroom(server.address) as room:
        request.cls.config_args["arguments"]["room"] = room
        yield


class OnRoom:
    """Its room comes by the fixture, which is later than this."""

    @classmethod
    def setup_class(cls) -> None:
        """Nothing: the suite would make a backend without a room."""


@pytest.mark.usefixtures("_suite")
class TestBackend(OnRoom, _GenericBackendTestSuite):
    backend = "greenroom"
    config_args: dict[str, Any] = {"arguments": {}}  # noqa: RUF012


@pytest.mark.usefixtures("_suite")
class TestSerializer(OnRoom, _GenericSerializerTestSuite, _GenericBackendTestSuite):
    backend = "greenroom"
    config_args: dict[str, Any] = {"arguments": {}}  # noqa: RUF012
    region_args = {"serializer": lambda v: json.dumps(v).encode("ascii"), "deserializer": json.loads}  # noqa: RUF012


@pytest.mark.usefixtures("_suite")
class TestMutex(OnRoom, _GenericMutexTestSuite):
    backend = "greenroom"
    config_args: dict[str, Any] = {"arguments": {"distributed_lock": True}}  # noqa: RUF012


def region_of(room: Greenroom, **arguments: Any) -> Any:
    return make_region().configure("greenroom", arguments={"room": room, **arguments})


def test_any_text_is_a_key_and_none_is_another(valkey: Server) -> None:
    with Greenroom(valkey.address) as room:
        region = region_of(room)
        keys = ["shop.views:product|1 2", "shop.views:product|1_2", "", "ö", "a" * 300, "%3A", ":"]
        region.set_multi({key: f"of {key}" for key in keys})
        assert region.get_multi(keys) == [f"of {key}" for key in keys]
        region.delete_multi(keys[:2])
        assert region.get_multi(keys[:3]) == [NO_VALUE, NO_VALUE, "of "]


def test_what_one_process_changes_another_reads_at_once(valkey: Server) -> None:
    with Greenroom(valkey.address) as mine, Greenroom(valkey.address) as theirs:
        here, there = region_of(mine), region_of(theirs)
        here.set("a", {"version": 1})
        assert there.get("a") == {"version": 1}
        here.set("a", {"version": 2})
        assert here.get("a") == {"version": 2}
        here.delete("a")
        assert here.get("a") is NO_VALUE


def test_one_of_all_processes_makes_a_value(valkey: Server) -> None:
    made: list[int] = []
    with Greenroom(valkey.address) as mine, Greenroom(valkey.address) as theirs:
        regions = [region_of(room, distributed_lock=True) for room in (mine, theirs)]

        def make() -> int:
            made.append(1)
            return len(made)

        values = together([partial(region.get_or_create, "a", make) for region in regions * 4])
        assert (values, made) == ([1] * 8, [1])


# A region gives one lock to all its threads.


def test_a_release_leaves_the_token_of_the_thread_that_comes_next(
    valkey: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    freed, taken, left = Event(), Event(), Event()
    with Greenroom(valkey.address) as room:
        mutex: Any = GreenroomBackend({"room": room, "distributed_lock": True}).get_mutex("a")
        compare_and_set = mutex._locks.compare_and_set

        def freeing(*args: Any, **parts: Any) -> Any:
            done = compare_and_set(*args, **parts)
            freed.set()
            assert taken.wait(60)
            return done

        def first() -> None:
            mutex.release()
            left.set()

        def second() -> None:
            assert freed.wait(60)
            assert mutex.acquire()
            taken.set()
            assert left.wait(60)
            mutex.release()

        assert mutex.acquire()
        monkeypatch.setattr(mutex._locks, "compare_and_set", freeing)
        together([first, second])  # dogpile's runners free in a thread of their own, as the first does
        assert not mutex.locked()


def test_a_thread_whose_lock_lapsed_does_not_free_that_of_another(valkey: Server) -> None:
    held, lapsed = Event(), Event()
    with Greenroom(valkey.address) as room:
        mutex: Any = GreenroomBackend({"room": room, "distributed_lock": True}).get_mutex("a")

        def first() -> None:
            assert mutex.acquire()
            held.set()
            assert lapsed.wait(60)
            mutex.release()

        def second() -> None:
            assert held.wait(60)
            valkey.raw()("FLUSHALL")  # as if it had lapsed
            assert mutex.acquire()
            lapsed.set()

        together([first, second])
        assert mutex.locked()


def test_a_runner_frees_the_lock_that_it_was_left_and_no_later_one(valkey: Server) -> None:
    with Greenroom(valkey.address) as room:
        mutex: Any = GreenroomBackend({"room": room, "distributed_lock": True}).get_mutex("a")
        assert mutex.acquire()
        valkey.raw()("FLUSHALL")  # as if it had lapsed
        assert mutex.acquire()
        together([mutex.release])  # of the first
        assert mutex.locked()
        together([mutex.release])
        assert not mutex.locked()


def test_a_release_that_failed_can_be_made_again(valkey: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    with Greenroom(valkey.address) as room:
        mutex: Any = GreenroomBackend({"room": room, "distributed_lock": True}).get_mutex("a")
        assert mutex.acquire()
        with monkeypatch.context() as patch:
            patch.setattr(mutex._locks, "get_result", Mock(side_effect=EngineUnavailable("gone")))
            with pytest.raises(EngineUnavailable):
                mutex.release()
        mutex.release()
        assert not mutex.locked()


def test_a_lock_that_lapsed_is_not_freed_by_its_first_holder(valkey: Server) -> None:
    with Greenroom(valkey.address) as room:
        backend = GreenroomBackend({"room": room, "distributed_lock": True})
        first, second = backend.get_mutex("a"), backend.get_mutex("a")
        assert first is not None
        assert second is not None
        assert first.acquire()
        assert not second.acquire(wait=False)
        valkey.raw()("FLUSHALL")  # as if it had lapsed
        assert second.acquire()
        first.release()
        assert second.locked()
        second.release()
        assert not second.locked()


def test_values_and_locks_have_a_lifetime(valkey: Server) -> None:
    with Greenroom(valkey.address) as room:
        backend = GreenroomBackend({"room": room, "ttl": 60, "distributed_lock": True, "lock_timeout": 5.0})
        make_region().configure("greenroom", arguments={"room": room, "ttl": timedelta(seconds=60)}).set("a", 1)
        mutex = backend.get_mutex("a")
        assert mutex is not None
        mutex.acquire()
        raw = valkey.raw()
        left = {key.split(b":")[0]: raw("PTTL", key) for key in raw("KEYS", "dogpile*")}
        assert 0 < left[b"dogpile"] <= 60_000
        assert 0 < left[b"dogpile-lock"] <= 5_000


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({}, "room"),
        ({"ttl": "day"}, "ttl"),
        ({"lock_timeout": 0}, "lock_timeout"),
        ({"ttl": inf}, "ttl"),
        ({"ttl": nan}, "ttl"),
    ],
)
def test_an_argument_that_cannot_be_is_named(arguments: dict[str, Any], field: str) -> None:
    given = arguments if field == "room" else {"room": Greenroom("valkey://127.0.0.1:1"), **arguments}
    with pytest.raises(InvalidInput) as error:
        GreenroomBackend(given)
    assert error.value.field == field
