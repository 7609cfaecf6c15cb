"""What a rolling deployment meets: two versions of a type on one server, each read by the other's processes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import Any, Literal, NamedTuple

import msgspec
import pytest
from pydantic import BaseModel, ConfigDict

from greenroom import Cache, Greenroom, Keyspace, Outcome
from greenroom.errors import BrokenValue, InvalidInput, OtherVersionValue
from greenroom.keyspace.json_schema import json_schemas
from greenroom.keyspace.registry import Keyspaces
from greenroom.keyspace.schema_changes import SchemaChange, changes
from tests.support.patience import until
from tests.support.real_servers import Server

pytestmark = pytest.mark.one_kind
HOUR = timedelta(hours=1)
KEY = "product:1"


def struct(*members: Any, **config: Any) -> Any:
    return msgspec.defstruct("Product", list(members), frozen=True, **config)


class Old(BaseModel):
    """A model of before."""

    sku: str


class Forbidding(Old):
    """One that knows its members."""

    model_config = ConfigDict(extra="forbid")


class WithPrice(Old):
    """One with a new required member."""

    price: int


class WithNote(Old):
    """One with a new member that has a default."""

    note: str = "none"


class Step(NamedTuple):
    """A change of a type: both types, what the record holds for each, and what each reads of the other's value."""

    old: Any
    new: Any
    old_record: dict[str, Any]
    new_record: dict[str, Any]
    new_reads: Outcome
    new_value: dict[str, Any]
    old_reads: Outcome
    old_value: dict[str, Any]
    breaking: bool


HIT, LOADED = Outcome.HIT, Outcome.LOADED
SKU = {"sku": "1"}
STEPS = {
    "a new required member": Step(
        struct(("sku", str)),
        struct(("sku", str), ("price", int)),
        SKU,
        SKU | {"price": 7},
        *(LOADED, SKU | {"price": 7}),
        *(HIT, SKU),
        breaking=True,
    ),
    "a new required member of a model": Step(
        Old, WithPrice, SKU, SKU | {"price": 7}, *(LOADED, SKU | {"price": 7}), *(HIT, SKU), breaking=True
    ),
    "a new member that processes of before forbid": Step(
        struct(("sku", str), forbid_unknown_fields=True),
        struct(("sku", str), ("note", str, "none")),
        SKU,
        SKU | {"note": "red"},
        *(HIT, SKU | {"note": "none"}),
        *(LOADED, SKU),
        breaking=True,
    ),
    "a new member that models of before forbid": Step(
        Forbidding, WithNote, SKU, SKU | {"note": "red"}, *(HIT, SKU | {"note": "none"}), *(LOADED, SKU), breaking=True
    ),
    "a new member with a default": Step(
        struct(("sku", str)),
        struct(("sku", str), ("note", str, "none")),
        SKU,
        SKU | {"note": "red"},
        *(HIT, SKU | {"note": "none"}),
        *(HIT, SKU),
        breaking=False,
    ),
    "a new member of a model with a default": Step(
        Old, WithNote, SKU, SKU | {"note": "red"}, *(HIT, SKU | {"note": "none"}), *(HIT, SKU), breaking=False
    ),
    "a required member that is gone": Step(
        struct(("sku", str), ("price", int)),
        struct(("sku", str)),
        SKU | {"price": 7},
        SKU,
        *(HIT, SKU),
        *(LOADED, SKU | {"price": 7}),
        breaking=True,
    ),
    "a member with a default that is gone": Step(
        struct(("sku", str), ("note", str, "none")),
        struct(("sku", str)),
        SKU | {"note": "red"},
        SKU,
        *(HIT, SKU),
        *(HIT, SKU | {"note": "none"}),
        breaking=False,
    ),
    "a renamed member": Step(
        struct(("sku", str)),
        struct(("number", str)),
        SKU,
        {"number": "1"},
        *(LOADED, {"number": "1"}),
        *(LOADED, SKU),
        breaking=True,
    ),
    "a renamed member with a default": Step(
        struct(("sku", str), ("note", str, "none")),
        struct(("sku", str), ("remark", str, "none")),
        SKU | {"note": "red"},
        SKU | {"remark": "red"},
        *(HIT, SKU | {"remark": "none"}),
        *(HIT, SKU | {"note": "none"}),
        breaking=False,
    ),
    "a narrowed type, and a value outside of it": Step(
        struct(("state", str)),
        struct(("state", Literal["open", "closed"])),
        {"state": "new"},
        {"state": "open"},
        *(LOADED, {"state": "open"}),
        *(HIT, {"state": "open"}),
        breaking=True,
    ),
    "a narrowed type, and a value within it": Step(
        struct(("state", str)),
        struct(("state", Literal["open", "closed"])),
        {"state": "open"},
        {"state": "closed"},
        *(HIT, {"state": "open"}),
        *(HIT, {"state": "closed"}),
        breaking=True,
    ),
    "a widened type": Step(
        struct(("sku", int)),
        struct(("sku", int | str)),
        {"sku": 1},
        {"sku": "a"},
        *(HIT, {"sku": 1}),
        *(LOADED, {"sku": 1}),
        breaking=True,
    ),
    "another type": Step(
        struct(("sku", int)),
        struct(("sku", str)),
        {"sku": 1},
        {"sku": "1"},
        *(LOADED, {"sku": "1"}),
        *(LOADED, {"sku": 1}),
        breaking=True,
    ),
    "a member that becomes nullable": Step(
        struct(("sku", str)),
        struct(("sku", str | None)),
        SKU,
        {"sku": None},
        *(HIT, SKU),
        *(LOADED, SKU),
        breaking=True,
    ),
}


def product(type_: Any, version: int = 0) -> Keyspace[Any]:
    return Keyspace("product:{sku}", type_, ttl=HOUR, version=version, name="product")


def loader(type_: Any, record: dict[str, Any]) -> Callable[[str], Awaitable[Any]]:
    async def load(sku: str) -> Any:
        return type_(**record)

    return load


def members(value: Any) -> dict[str, Any]:
    found: dict[str, Any] = value.model_dump() if isinstance(value, BaseModel) else msgspec.to_builtins(value)
    return found


Open = Callable[..., Awaitable[Cache[Any]]]


@pytest.fixture
async def process(server: Server) -> AsyncIterator[Open]:
    """Opens the cache of a process that has one version of the type; near values would hide the server's."""
    async with AsyncExitStack() as stack:

        async def opened(
            keyspace: Keyspace[Any], record: dict[str, Any], near_for: timedelta = timedelta(0), load: Any = None
        ) -> Any:
            room = await stack.enter_async_context(Greenroom(server.address, sessions=False))
            return room.cache(keyspace, load=load or loader(keyspace.type, record), near_for=near_for)

        yield opened


@pytest.mark.parametrize("step", STEPS.values(), ids=STEPS)
async def test_each_version_reads_the_other_s_values_as_documented(process: Open, step: Step) -> None:
    old = await process(product(step.old), step.old_record)
    new = await process(product(step.new), step.new_record)
    for writer, reader, outcome, value in (
        (old, new, step.new_reads, step.new_value),
        (new, old, step.old_reads, step.old_value),
    ):
        await writer.invalidate("1")
        await writer.get("1")
        result = await reader.get_result("1")
        assert (result.outcome, members(result.value)) == (outcome, value)
        assert (await reader.get_result("1")).outcome is HIT, "what was loaded anew is stored"


@pytest.mark.parametrize("step", STEPS.values(), ids=STEPS)
def test_the_check_calls_breaking_what_either_side_may_refuse(step: Step) -> None:
    found = changes_between(step.old, step.new)
    assert found, "each is told"
    assert any(one.breaking for one in found) is step.breaking, found
    assert list(changes_between(step.old, step.old)) == []


def changes_between(old: Any, new: Any, *versions: int) -> list[SchemaChange]:
    before, after = (product(type_, version) for type_, version in zip((old, new), versions or (0, 0), strict=True))
    return list(changes(json_schemas(Keyspaces(before)), json_schemas(Keyspaces(after))))


# Versions --------------------------------------------------------------------------------------------------


WITH_DEFAULT = STEPS["a new member with a default"]


async def test_a_version_refuses_values_of_another_either_way(
    process: Open, server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    step = WITH_DEFAULT
    old = await process(product(step.old), step.old_record)
    first = await process(product(step.old, 1), step.old_record)
    second = await process(product(step.new, 2), step.new_record)
    caplog.set_level(logging.WARNING, "greenroom")
    await old.get("1")
    for reader, value in ((second, step.new_record), (first, step.old_record), (second, step.new_record)):
        result = await reader.get_result("1")
        assert (result.outcome, members(result.value)) == (LOADED, value)
        assert (await reader.get_result("1")).outcome is HIT
    assert server.raw()("GET", KEY) == b'  {"sku":"1","note":"red"}', "plain JSON for every other reader"
    assert members(await old.get("1")) == step.old_record, "one without a version takes what fits"
    counters = second._backing.counters
    assert counters.errors["product", "version"] == 2
    assert counters.errors["product", "broken"] == 0
    assert not caplog.records, "it is expected"


async def test_an_invalidation_of_one_version_reaches_the_other_s_values(process: Open) -> None:
    """The key stays the same: no process need know which versions there are."""
    step = WITH_DEFAULT
    old = await process(product(step.old), step.old_record)
    new = await process(product(step.new, 2), step.new_record, HOUR)
    await new.get("1")
    assert (await new.get_result("1")).outcome is Outcome.NEAR
    await old.invalidate("1")
    await until(lambda: new.peek("1") is None)
    assert (await new.get_result("1")).outcome is LOADED


async def test_a_reader_who_waits_for_a_load_of_another_version_loads_himself(process: Open) -> None:
    step, started, go = WITH_DEFAULT, asyncio.Event(), asyncio.Event()

    async def slow(sku: str) -> Any:
        started.set()
        await go.wait()
        return step.old(**step.old_record)

    old = await process(product(step.old), step.old_record, load=slow)
    new = await process(product(step.new, 2), step.new_record)
    first = asyncio.ensure_future(old.get("1"))
    await started.wait()
    second = asyncio.ensure_future(new.get_result("1"))
    await until(lambda: new._flights.find(KEY) is not None)
    go.set()
    await first
    result = await second
    assert (result.outcome, members(result.value)) == (LOADED, step.new_record)
    assert new._backing.counters.errors["product", "broken"] == 0


@pytest.mark.parametrize("data", [b"", b" ", b"  ", b' {"sku":"1"}', b'   {"sku":"1"}', b'{"sku":"1"}'])
def test_bytes_of_any_other_version_are_told_apart(data: bytes) -> None:
    keyspace = product(Old, 2)
    with pytest.raises(BrokenValue) as caught:
        keyspace.decode(KEY, data)
    assert isinstance(caught.value, OtherVersionValue) is (data != b"  ")
    assert keyspace.decode(KEY, keyspace.encode(KEY, Old(sku="1"))) == Old(sku="1")
    assert keyspace.prefixed("p:").version == 2


@pytest.mark.parametrize("version", [-1, 65, True, "2", 1.0])
def test_a_version_that_cannot_be_is_refused(version: Any) -> None:
    with pytest.raises(InvalidInput, match=r"version: .*use a whole number from 1 to 64, or leave it out"):
        product(Old, version)


def test_a_store_has_no_versions_and_a_cache_of_another_is_another() -> None:
    room = Greenroom(sessions=False)
    with pytest.raises(InvalidInput, match=r"version: .*a store has no loader"):
        room.store(product(int, 1))
    load = loader(int, {})
    room.cache(product(int, 1), load=load)
    with pytest.raises(InvalidInput, match="has a cache that differs in version"):
        room.cache(product(int, 2), load=load)


def test_a_raised_version_makes_no_change_of_the_value_breaking() -> None:
    step = STEPS["a renamed member"]
    (change,) = changes_between(step.old, step.new, 0, 2)
    assert not change.breaking
    assert "another version" in str(change)
    assert any(one.breaking for one in changes_between(step.old, step.new, 2, 2))


async def test_a_store_s_member_is_lost_where_an_old_process_changes_it(server: Server) -> None:
    """So the check calls it breaking, unlike a cache's, whose loader has the member."""
    old = Keyspace("basket:{user}", struct(("items", tuple[str, ...])), ttl=HOUR, name="basket")
    new = Keyspace("basket:{user}", struct(("items", tuple[str, ...]), ("coupon", str, "")), ttl=HOUR, name="basket")
    (change,) = changes(json_schemas(Keyspaces(stores=[old])), json_schemas(Keyspaces(stores=[new])))
    assert change == ("basket.coupon", "is new: a process of before that changes a value loses it", True)
    async with Greenroom(server.address, sessions=False) as before, Greenroom(server.address, sessions=False) as after:
        await after.store(new).set(new.type(("tea",), "SAVE10"), user="u1")
        await before.store(old).change(lambda _: old.type(("milk",)), user="u1")
        assert server.raw()("GET", "basket:u1") == b'{"items":["milk"]}'
