"""What a program's own keyspaces tell others holds on a server: access rules, and how other languages drop."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta

import msgspec
import pytest

from greenroom import Greenroom, Keyspace, Outcome
from greenroom.acl import Role, rules
from greenroom.keyspace.other_writers import document
from tests.support.patience import until
from tests.support.real_servers import Raw, Server

HOUR = timedelta(hours=1)


class Product(msgspec.Struct, frozen=True):
    """What is sold."""

    sku: int
    title: str = "tea"


PRODUCT = Keyspace("shop:product:{region}:{sku}", Product, parts={"sku": int}, ttl=HOUR, fresh=timedelta(minutes=30))
VISITS = Keyspace("shop:visits:{day}", int, ttl=HOUR)


class Shop:
    """A program with a cache, a group, a store, a limit and sessions, and a record whose titles change."""

    def __init__(self, address: str | None = None, *, sessions: bool = False) -> None:
        self.title = "tea"
        self.room = Greenroom(address, prefix="sh*p:", sessions=sessions)
        self.product = self.room.cached(PRODUCT, groups=["shop:products:{region}"])(self.load)
        self.visits = self.room.store(VISITS)
        self.exports = self.room.rate_limit("exports", 2, per=HOUR)

    async def load(self, region: str, sku: int) -> Product | None:
        """Reads the record."""
        return Product(sku, self.title)


@pytest.fixture
def raw(server: Server) -> Iterator[Raw]:
    raw = server.raw()
    yield raw
    raw.close()


@pytest.fixture
async def shop(server: Server) -> AsyncIterator[Shop]:
    shop = Shop(server.address)
    async with shop.room:
        yield shop


@pytest.mark.parametrize("sessions", [False, True])
async def test_the_rules_of_a_room_suffice_for_all_it_does(server: Server, raw: Raw, sessions: bool) -> None:
    declared = Shop(sessions=sessions).room.declarations
    allowed = rules(Role.SERVICE if sessions else Role.WORKER, declared, prefix=declared.prefix(None))
    assert allowed is not None
    assert raw("ACL", "SETUSER", "shop", "reset", "on", ">secret", *allowed.text().split()) == b"OK"
    shop = Shop(server.address.replace("//", "//shop:secret@"), sessions=sessions)
    async with shop.room as room:
        assert await shop.product("eu", 1) == Product(1)
        assert (await shop.product.get_result("eu", 1)).outcome is Outcome.NEAR
        await shop.product.invalidate("eu", 1)
        await shop.product("eu", 1)
        await shop.product.invalidate_group("eu")
        await room.drop_keyspace(PRODUCT)
        await shop.product("eu", 1)
        await shop.visits.increment(day="d")
        assert [bool(await shop.exports.count("u1")) for _ in range(3)] == [False, False, True]
        await shop.exports.take_back("u1")
        await shop.exports.forget("u1")
        if sessions:
            live, _ = await room.sessions.start(user_id="u1")
            stream = await room.presence.open("c1", live.session_id)
            assert await room.presence.listeners() == {"c1": 1}
            await room.presence.close(stream)
            await room.sessions.end_all("u1")
    assert raw("ACL", "LOG") == []
    assert all(b"sh*p:" in key for key in raw("KEYS", "*"))


def told(shop: Shop) -> str:
    return document(shop.room.declarations.keyspaces.prefixed(shop.room.prefix))


async def test_another_language_drops_a_value_as_the_document_says(shop: Shop, raw: Raw) -> None:
    await shop.product("eu", 1)
    (command,) = re.findall(r"`(DEL [^`]+)`\.", told(shop))
    shop.title = "milk"
    raw(*command.replace("<region>", "eu").replace("<sku>", "1").split())
    await until_title(shop, "milk", 1)


async def test_another_language_drops_a_group_as_the_document_says(shop: Shop, raw: Raw) -> None:
    other = Shop(shop.room._address)
    async with other.room:
        for sku in (1, 2):
            await shop.product("eu", sku)
            await other.product("eu", sku)
        await shop.product("us", 1)
        text = told(shop)
        (group,) = re.findall(r"- `([^`]+)` of `sh\*p:shop:product:<region>:<sku>`", text)
        zrange, delete = re.findall(r"`((?:ZRANGE <group>|DEL <member>)[^`]+)`", text)
        shop.title = other.title = "milk"
        members = raw(*zrange.replace("<group>", group).replace("<region>", "eu").split())
        assert sorted(members) == [b"sh*p:shop:product:eu:1", b"sh*p:shop:product:eu:2"]
        for member in members:
            raw(*delete.replace("<member>", member.decode()).split())
        for program in (shop, other):
            for sku in (1, 2):
                await until_title(program, "milk", sku)
        assert (await shop.product.get_result("us", 1)).outcome is Outcome.NEAR, "it is in another group"
    # The members were left in: the next drop finds them whoever it is by.
    shop.title = "salt"
    await shop.product.invalidate_group("eu")
    assert (await shop.product("eu", 2)) == Product(2, "salt")


async def test_a_load_under_way_is_not_stored_after_a_drop_from_outside(shop: Shop, raw: Raw) -> None:
    """The group is read while a page of it is loaded for the first time: it is registered before its load."""
    (delete,) = re.findall(r"`(DEL <member>[^`]+)`", told(shop))
    begun = False

    async def load(region: str, sku: int) -> Product | None:
        nonlocal begun
        found = Product(sku, shop.title)
        if not begun:
            begun = True
            shop.title = "milk"
            (member,) = raw("ZRANGE", "sh*p:greenroom:group:{shop:products:eu}", 0, -1)
            raw(*delete.replace("<member>", member.decode()).split())
        return found

    room = Greenroom(shop.room._address, prefix="sh*p:", sessions=False)
    product = room.cached(PRODUCT, groups=["shop:products:{region}"])(load)
    async with room:
        assert await product("eu", 1) == Product(1), "the caller began before the change"
        await until_title(shop, "milk", 1)
        assert raw("GET", "sh*p:shop:product:eu:1") == b'{"sku":1,"title":"milk"}'


async def until_title(shop: Shop, title: str, sku: int) -> None:
    """The push that tells of the drop may come a moment later."""
    old = shop.product.peek("eu", sku)
    await until(lambda: shop.product.peek("eu", sku) is not old or old is None)
    assert await shop.product("eu", sku) == Product(sku, title)
