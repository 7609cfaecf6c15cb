"""What a room is made of is refused by its name, with what would be accepted, before anything is opened."""

from __future__ import annotations

from typing import Any

import pytest

from greenroom import Greenroom, SessionSettings
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


@pytest.mark.parametrize("argument", ["address", "session_address"])
async def test_an_address_of_another_type_is_refused_with_the_form(argument: str) -> None:
    with pytest.raises(InvalidInput, match="address: is int, not a string; write it like valkey://host:6379"):
        await Greenroom(**{argument: 5}).__aenter__()  # type: ignore[arg-type]
    # As of a variable of the environment that is set and empty: not the embedded server.
    with pytest.raises(InvalidInput, match="address: the scheme '' is not known; write it like valkey://host:6379"):
        await Greenroom(**{argument: ""}).__aenter__()


@pytest.mark.parametrize(
    ("args", "named"), [((), {}), (("a",), {}), (("a", 1, 2), {}), ((), {"x": 1, "topic_id": "a"})]
)
def test_wrong_parts_are_told_with_those_of_the_key(args: tuple[object, ...], named: dict[str, object]) -> None:
    with pytest.raises(WrongParts, match=r"parts: .* takes the parts topic_id, page; given: .*; give each"):
        Pattern("page:{topic_id}:{page}").key(*args, **named)
    with pytest.raises(WrongParts, match=r"takes the parts no part; given: .*; give none"):
        Pattern("all").key("a")
