"""A store: what the program writes itself, read from this process where nobody has changed it since."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from greenroom import Greenroom, Keyspace, Keyspaces, Outcome, Store
from greenroom.acl import Role, rules
from greenroom.caching.result import CacheResult
from greenroom.declarations import Declarations
from greenroom.errors import BrokenValue, InvalidInput, RoomClosed, RoomNotOpen
from tests.support.patience import until
from tests.support.real_servers import Raw, Server

pytestmark = pytest.mark.on_cluster
MINUTE = timedelta(minutes=1)


class Basket(msgspec.Struct):
    items: list[str]


BASKET = Keyspace("basket:{user}", Basket, ttl=timedelta(minutes=10))
COUNT = Keyspace("count:{day}", int, ttl=timedelta(minutes=10))


@pytest.fixture
async def room(server: Server) -> AsyncIterator[Greenroom]:
    address = server.address
    async with Greenroom(address, sessions=False) as room:
        yield room


@pytest.fixture
async def other(server: Server) -> AsyncIterator[Greenroom]:
    """As another process has it."""
    async with Greenroom(server.address, sessions=False) as room:
        yield room


async def left(room: Greenroom, key: str) -> int:
    from greenroom.engine import Channel

    return int(await room.engine.execute(Channel.PLAIN, key, "PTTL", key))


async def put(room: Greenroom, *command: str | int) -> None:
    """Write as another program does, past the store."""
    from greenroom.engine import Channel

    await room.engine.execute(Channel.PLAIN, str(command[1]), *command)


async def test_what_is_set_is_read_and_then_read_near(either: Any) -> None:
    baskets = either.store(BASKET)
    assert await baskets.get(user="u1") is None
    await baskets.set(Basket(["tea"]), user="u1")
    first, second = await baskets.get_result("u1"), await baskets.get_result("u1")
    assert (first.outcome, second.outcome) == (Outcome.HIT, Outcome.NEAR)
    assert first.value == second.value == Basket(["tea"])
    assert first.value is not second.value  # each may change his own
    assert 590 < (first.ttl or 0) <= 600.001
    assert either.counters.reads["basket", "near"] == 1


async def test_a_change_elsewhere_is_seen_by_a_push(either: Any, other: Greenroom) -> None:
    mine, theirs = either.store(BASKET), other.store(BASKET)
    assert await mine.get("u1") is None  # an absence is kept near too
    assert (await mine.get_result("u1")).outcome is Outcome.NEAR
    await theirs.set(Basket(["tea"]), user="u1")
    async with asyncio.timeout(10):
        while await mine.get("u1") is None:
            await asyncio.sleep(0.001)
    assert await theirs.delete("u1")
    async with asyncio.timeout(10):
        while await mine.get("u1") is not None:
            await asyncio.sleep(0.001)


async def test_each_writer_reads_his_own_write_whatever_was_asked(room: Greenroom) -> None:
    numbers = room.store(COUNT)
    for number in range(200):
        # Reads before and behind it in the same write on the wire.
        reads = [asyncio.ensure_future(numbers.get("d")) for _ in range(3)]
        await asyncio.sleep(0)
        await numbers.set(number, day="d")
        assert await numbers.get("d") == number
        await asyncio.gather(*reads)
        assert await numbers.get("d") == number


async def test_nothing_of_a_key_is_put_near_while_it_is_written(room: Greenroom) -> None:
    """A read is on its way · the value is set · the old value arrives, and is put near."""
    numbers = room.store(COUNT)
    await numbers.set(1, day="d")
    await numbers.get("d")
    key, tier = COUNT.key(day="d"), numbers._tier
    near, now = tier._near, tier._now()
    old = near.peek(key, now)
    assert old is not None
    write = asyncio.ensure_future(numbers.set(2, day="d"))
    await asyncio.sleep(0)  # it is called, and not answered
    assert near.peek(key, now) is None
    tier.arrived(key, now, [60_000, old.body], old.source)
    assert near.peek(key, now) is None
    await write
    assert await numbers.get("d") == 2
    tier.arrived(key, now, [60_000, b"2"], old.source)
    assert near.peek(key, now) is not None


async def test_add_delete_and_touch_say_what_they_have_done(either: Any, other: Greenroom) -> None:
    numbers = either.store(COUNT)
    assert await numbers.add(1, day="d")
    assert not await numbers.add(2, day="d")
    assert await numbers.get("d") == 1
    assert await numbers.touch("d", ttl=timedelta(hours=1))
    assert await left(other, "count:d") > 3_500_000
    assert (await numbers.get_result("d")).value == 1
    assert await left(other, "count:d") > 3_500_000, "a read has shortened a lifetime above the keyspace's"
    assert await numbers.delete("d")
    assert not await numbers.delete("d")
    assert not await numbers.touch("d")


async def test_increments_of_all_count_and_only_the_first_sets_the_lifetime(either: Any, other: Greenroom) -> None:
    mine, theirs = either.store(COUNT), other.store(COUNT)
    assert await mine.increment(create=False, day="d") is None
    assert await mine.get("d") is None
    answers = await asyncio.gather(*(one.increment(day="d") for one in (mine, theirs) for _ in range(50)))
    assert sorted(answer for answer in answers if answer is not None) == list(range(1, 101))
    assert await mine.touch("d", ttl=MINUTE)
    assert await mine.increment(-99, day="d") == 1
    assert await mine.increment(-1, create=False, day="d") == 0
    assert await left(other, "count:d") <= 60_000
    assert await mine.increment(2**53 + 1, day="big") == 2**53 + 1
    assert await mine.increment(2**53, day="big") == 2**54 + 1
    with pytest.raises(BrokenValue, match="overflow"):
        await mine.increment(2**63 - 1, day="big")
    await put(other, "SET", "count:word", '"a"')
    with pytest.raises(BrokenValue, match="not an integer"):
        await mine.increment(day="word")


async def test_compare_and_set_writes_over_what_was_read_only(either: Any, other: Greenroom) -> None:
    numbers = either.store(COUNT)
    none = await numbers.get_result("d")
    assert await numbers.compare_and_set(none, 1, day="d")
    assert not await numbers.compare_and_set(none, 2, day="d")
    one = await numbers.get_result("d")
    await put(other, "SET", "count:d", "7")
    assert not await numbers.compare_and_set(one, 2, day="d")
    seven = await numbers.get_result("d")
    assert await numbers.compare_and_set(seven, None, day="d")
    assert await numbers.get("d") is None


async def test_a_change_is_made_anew_where_another_was_faster(room: Greenroom, other: Greenroom) -> None:
    baskets, theirs = room.store(BASKET), other.store(BASKET)
    asked: list[Basket | None] = []
    faster: list[asyncio.Future[None]] = []

    def with_tea(basket: Basket | None) -> Basket:
        asked.append(basket)
        if not faster:
            faster.append(asyncio.ensure_future(theirs.set(Basket(["milk"]), user="u1")))
        return Basket([*(basket.items if basket else ()), "tea"])

    # Theirs is on the wire first: the comparison is sent when it has been answered.
    compare = baskets._tier.compare_and_set

    async def behind(*args: Any) -> bool:
        await asyncio.gather(*faster)
        return await compare(*args)

    baskets._tier.compare_and_set = behind  # type: ignore[method-assign, assignment]
    assert await baskets.change(with_tea, user="u1") == Basket(["milk", "tea"])
    assert asked == [None, Basket(["milk"])]
    assert await baskets.change(lambda _: None, user="u1") is None
    assert await baskets.get("u1") is None


async def test_two_hundred_callers_change_one_value_in_turn(room: Greenroom, monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = room.store(COUNT)
    monkeypatch.setattr(type(numbers._tier._engine), "call_budget", 60.0)  # however slow this machine is
    made = await asyncio.gather(*(numbers.change(lambda old: (old or 0) + 1, day="d") for _ in range(200)))
    assert sorted(number or 0 for number in made) == list(range(1, 201))


@pytest.mark.one_kind
@pytest.mark.own_budget
async def test_a_change_that_hangs_does_not_keep_the_others_for_ever(room: Greenroom) -> None:
    numbers, hangs, go = room.store(COUNT), asyncio.Event(), asyncio.Event()
    read = numbers._tier.read

    async def hanging(key: str, *, deadline: float | None = None) -> CacheResult[int]:
        numbers._tier.read = read  # type: ignore[method-assign]
        hangs.set()
        await go.wait()
        return await read(key, deadline=deadline)

    numbers._tier.read = hanging  # type: ignore[method-assign]
    first = asyncio.ensure_future(numbers.change(lambda old: (old or 0) + 1, day="d"))
    await hangs.wait()
    async with asyncio.timeout(30):
        assert await numbers.change(lambda old: (old or 0) + 10, day="d") == 10
        go.set()
        assert await first == 11
    assert not numbers._turns


async def test_many_are_read_and_written_in_the_order_asked(either: Any, other: Greenroom) -> None:
    numbers = either.store(COUNT)
    await numbers.set_many({f"d{number}": number for number in range(1500)}, ttl=MINUTE)
    assert await numbers.get_many(["d3", "d1499", "none", "d3"]) == [3, 1499, None, 3]
    assert await left(other, "count:d7") <= 60_000
    with pytest.raises(InvalidInput, match="day"):
        await numbers.set_many({"ok": 1, "not ok": 2})
    assert await numbers.get("ok") is None, "nothing is sent where one cannot be"


async def test_many_are_deleted_near_and_for_all(either: Any, other: Greenroom) -> None:
    numbers = either.store(COUNT)
    days = [f"d{number}" for number in range(1500)]
    await numbers.set_many(dict.fromkeys(days, 1))
    assert await numbers.get_many(days) == [1] * 1500
    assert await numbers.delete_many([*days[:1200], "none", "d1"]) == 1200
    assert await numbers.get_many(days) == [None] * 1200 + [1] * 300
    assert await other.store(COUNT).get_many(days) == [None] * 1200 + [1] * 300
    assert await numbers.delete_many([]) == 0


async def test_of_many_each_that_cannot_be_read_is_counted(either: Any, other: Greenroom) -> None:
    baskets = either.store(BASKET)
    await put(other, "SET", "basket:u1", "[]")
    await put(other, "RPUSH", "basket:u2", "a")
    await baskets.set(Basket([]), user="u3")
    with pytest.raises(BrokenValue):
        await baskets.get_many(["u3", "u1", "u1"])
    assert either.counters.errors["basket", "broken"] == 2
    with pytest.raises(BrokenValue, match="not a string"):
        await baskets.get_many(["u3", "u2"])


async def test_what_does_not_fit_is_an_error_until_it_is_replaced(either: Any, other: Greenroom) -> None:
    baskets = either.store(BASKET)
    await put(other, "SET", "basket:u1", "[]")
    for _ in range(2):
        with pytest.raises(BrokenValue):
            await baskets.get("u1")
    await put(other, "DEL", "basket:u1")
    await put(other, "RPUSH", "basket:u1", "a")
    with pytest.raises(BrokenValue, match="not a string"):
        await baskets.get("u1")
    assert either.counters.errors["basket", "broken"] == 3
    await baskets.set(Basket([]), user="u1")
    assert await baskets.get("u1") == Basket([])


WRONG: dict[str, tuple[Any, str]] = {
    "a lifetime": (lambda one: one.set(1, ttl=5, day="d"), "ttl: is int, not a timedelta"),
    "no lifetime": (lambda one: one.touch("d", ttl=timedelta(0)), "ttl: 0:00:00 is too short"),
    "an amount": (lambda one: one.increment(2**63, day="d"), "amount: is 9223372036854775808, above"),
    "an amount of many digits": (lambda one: one.increment(-(10**5000), day="d"), "amount: is below"),
    "a bool": (lambda one: one.increment(True, day="d"), "amount: is bool, not a whole number"),
    "a text": (lambda one: one.increment("1", day="d"), "amount: is str, not a whole number"),
    "a result": (lambda one: one.compare_and_set(3, 4, day="d"), "result: is int, not a CacheResult"),
    "a part": (lambda one: one.get("a b"), "day"),
    "another part": (lambda one: one.set(1, week="d"), "parts"),
    "values": (lambda one: one.set_many([1]), "values: is list, not a Mapping"),
}


@pytest.mark.one_kind
@pytest.mark.one_server
@pytest.mark.parametrize("name", WRONG)
async def test_wrong_arguments_are_refused_by_name(room: Greenroom, name: str) -> None:
    call, words = WRONG[name]
    with pytest.raises(InvalidInput, match=f"^{re.escape(words)}"):
        await call(room.store(COUNT))
    with pytest.raises(InvalidInput, match="holds no numbers"):
        await room.store(BASKET).increment(user="u1")

    async def later(_: int | None) -> int:
        return 1

    with pytest.raises(InvalidInput, match="fn: is async"):
        await room.store(COUNT).change(later, day="d")  # type: ignore[arg-type]


@pytest.mark.one_kind
@pytest.mark.one_server
async def test_a_keyspace_is_either_a_caches_or_a_stores(room: Greenroom) -> None:
    store = room.store(COUNT)
    assert room.store(COUNT) is store
    with pytest.raises(InvalidInput, match="is that of a store already"):
        room.cache(COUNT, load=lambda day: 1)
    room.cache(BASKET, load=lambda user: Basket([]))
    with pytest.raises(InvalidInput, match="is that of a cache already"):
        room.store(BASKET)
    with pytest.raises(InvalidInput, match="can make the same key"):
        room.store(Keyspace("count:{week}", str, ttl=MINUTE))
    with pytest.raises(InvalidInput, match="a part create"):
        room.store(Keyspace("made:{create}", int, ttl=MINUTE))
    with pytest.raises(InvalidInput, match="soft lifetime"):
        room.store(Keyspace("soft:{a}", int, ttl=MINUTE, fresh=timedelta(seconds=1)))
    with pytest.raises(InvalidInput, match="is a store's"):
        await room.drop_keyspace(COUNT)


@pytest.mark.one_kind
@pytest.mark.one_server
async def test_a_store_answers_while_its_room_is_open(server: Server) -> None:
    room = Greenroom(server.address, sessions=False, prefix="p:")
    store: Store[int] = room.store(COUNT)
    with pytest.raises(RoomNotOpen):
        await store.get("d")
    for _ in range(2):
        async with room:
            await store.increment(day="d")
    with pytest.raises(RoomClosed):
        await store.set(1, day="d")
    raw = server.raw()
    assert raw("GET", "p:count:d") == b"2"
    raw.close()


def test_access_rules_name_a_stores_keys_and_commands() -> None:
    declared = Declarations(Keyspaces(stores=[COUNT]))
    allowed = rules(Role.WORKER, declared, prefix="p:")
    assert allowed is not None
    assert allowed.keys == ("p:count:*",)
    assert {"set", "incrby", "exists", "get", "pexpire", "del", "pttl"} <= allowed.commands


@pytest.mark.one_server
async def test_a_stores_access_rules_suffice(server: Server, raw_admin: Raw) -> None:
    declared = Declarations(Keyspaces(stores=[COUNT]))
    allowed = rules(Role.WORKER, declared)
    assert allowed is not None
    assert raw_admin("ACL", "SETUSER", "shop", "reset", "on", ">secret", *allowed.text().split()) == b"OK"
    async with Greenroom(server.address.replace("//", "//shop:secret@"), sessions=False) as room:
        numbers = room.store(COUNT)
        await numbers.set(1, day="d")
        await numbers.add(1, day="d")
        await numbers.increment(day="d")
        await numbers.increment(create=False, day="e")
        await numbers.change(lambda number: (number or 0) + 1, day="d")
        assert await numbers.get("d") == 3
        await numbers.touch("d")
        await numbers.change(lambda _: None, day="d")
        await numbers.delete("d")
        await numbers.delete_many(["d", "e"])
    assert raw_admin("ACL", "LOG") == []


@pytest.fixture
def raw_admin(server: Server) -> Any:
    raw = server.raw()
    yield raw
    raw.close()


@pytest.mark.one_server
async def test_a_flush_evicts_what_is_near(room: Greenroom, raw_admin: Raw) -> None:
    numbers = room.store(COUNT)
    await numbers.set(1, day="d")
    assert await numbers.get("d") == await numbers.get("d") == 1
    raw_admin("FLUSHALL")
    await until(lambda: numbers._tier._near.peek("count:d", numbers._tier._now()) is None)
    assert await numbers.get("d") is None
