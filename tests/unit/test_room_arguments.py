"""What a room is made of is refused by its name, with what would be accepted, before anything is opened."""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from greenroom import Greenroom, Keyspace, SessionSettings, sync
from greenroom.caching.options import DEFAULTS
from greenroom.errors import InvalidInput, WrongParts
from greenroom.keyspace import Pattern


@pytest.mark.parametrize(
    ("argument", "value", "remedy"),
    [
        ("sessions", 5, r"use True, False or SessionSettings\(…\)"),
        ("sessions", SessionSettings, r"use True, False or SessionSettings\(…\)"),
        ("sessions", {"idle": 1}, r"use True, False or SessionSettings\(…\)"),
        ("replica_reads", "yes", "use True or False"),
        ("data_dir", 5, "name a directory"),
        ("prefix", 5, "printable ASCII"),
        ("clock", 3, "which has no monotonic, now, random, token; give an object with the methods"),
        ("counters", 3, r"give Counters\(\)"),
    ],
)
def test_an_argument_of_another_type_is_refused_by_name(argument: str, value: Any, remedy: str) -> None:
    with pytest.raises(InvalidInput, match=f"{argument}: .*{remedy}"):
        Greenroom(**{argument: value})


@pytest.mark.parametrize("face", [Greenroom, sync.Greenroom], ids=["coroutines", "threads"])
def test_an_option_that_no_cache_has_is_refused_by_its_name(face: Any) -> None:
    room = face()
    keyspace = Keyspace("option:{a}", str, ttl=timedelta(minutes=1))
    for declare in (partial(room.cache, keyspace, load=lambda a: a), partial(room.cached, keyspace)):
        with pytest.raises(TypeError, match=r"a cache has no argument 'near'; did you mean 'near_for'\?"):
            declare(near=timedelta(0))
        with pytest.raises(TypeError, match=r"a cache has no argument 'xyz'$"):
            declare(xyz=1)


def test_an_option_that_is_left_out_is_the_default_one() -> None:
    room = Greenroom()
    keyspace = Keyspace("option:{a}", str, ttl=timedelta(minutes=1))

    def load(a: str) -> str:
        return a

    made = room.cache(keyspace, load=load)
    assert room.cache(keyspace, load=load, **DEFAULTS) is made
    others: dict[str, Any] = {"near_for": timedelta(0), "max_concurrent": 2, "groups": ["of:{a}"], "passes": [OSError]}
    for name, other in others.items():
        with pytest.raises(InvalidInput, match=f"has a cache that differs in {name}"):
            room.cache(keyspace, load=load, **{name: other})


@pytest.mark.parametrize("argument", ["address", "session_address"])
async def test_an_address_of_another_type_is_refused_with_the_form(argument: str) -> None:
    with pytest.raises(InvalidInput, match="address: is int, not a string; write it like valkey://host:6379"):
        await Greenroom(**{argument: 5}).__aenter__()  # type: ignore[arg-type]
    # As of a variable of the environment that is set and empty: not the embedded server.
    with pytest.raises(InvalidInput, match="address: the scheme '' is not known; write it like valkey://host:6379"):
        await Greenroom(**{argument: ""}).__aenter__()  # type: ignore[arg-type]  # which of them is chosen above


@pytest.mark.parametrize(
    ("args", "named"), [((), {}), (("a",), {}), (("a", 1, 2), {}), ((), {"x": 1, "topic_id": "a"})]
)
def test_wrong_parts_are_told_with_those_of_the_key(args: tuple[object, ...], named: dict[str, object]) -> None:
    with pytest.raises(WrongParts, match=r"parts: .* takes the parts topic_id, page; given: .*; give each"):
        Pattern("page:{topic_id}:{page}").key(*args, **named)
    with pytest.raises(WrongParts, match=r"takes the parts no part; given: .*; give none"):
        Pattern("all").key("a")
