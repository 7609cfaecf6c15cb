"""`Keyspaces`: what it refuses, and what a room tells of itself in its form."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any, cast

import pytest

from greenroom import Greenroom, Keyspace, Keyspaces, Number
from greenroom.errors import InvalidInput

HOUR = timedelta(hours=1)
PRODUCT = Keyspace("product:{region}:{sku}", int, parts={"sku": int}, ttl=HOUR)
PAGE = Keyspace("page:{region}:{number}", int, parts={"number": Number(1, 100)}, ttl=HOUR)
BY_NUMBER = Keyspace("by_number:{region}", int, parts={"region": int}, ttl=HOUR)
BASKET = Keyspace("basket:{user}", int, ttl=HOUR)
SESSION = Keyspace("visitor:{session_id}", int, ttl=HOUR, name="session")


@pytest.mark.parametrize(
    ("make", "field", "words"),
    [
        (lambda: Keyspaces(PRODUCT, PRODUCT), "keyspaces", "can make the same key as 'product:{region}:{sku}'"),
        (lambda: Keyspaces(PRODUCT, stores=[PRODUCT]), "keyspaces", "can make the same key"),
        (lambda: Keyspaces(PRODUCT, sessions=PRODUCT), "keyspaces", "can make the same key"),
        (
            lambda: Keyspaces(PRODUCT, Keyspace("product:eu:{id}", int, ttl=HOUR, name="eu")),
            "keyspaces",
            "'product:{region}:{sku}' can make the same key as 'product:eu:{id}'",
        ),
        (
            lambda: Keyspaces(PRODUCT, Keyspace("goods:{id}", int, ttl=HOUR, name="product")),
            "keyspaces",
            "'product:{region}:{sku}' and 'goods:{id}' have one name, 'product'; give one of them another, by name=",
        ),
        (lambda: Keyspaces(cast(Any, "product:{sku}")), "keyspaces", "is str, not a Keyspace; give what Keyspace"),
        (lambda: Keyspaces(PRODUCT, groups=cast(Any, ["pages:{region}"])), "groups", "are list, not a dict"),
        (lambda: Keyspaces(PRODUCT, groups={"all": PAGE}), "groups", "which is not one of the caches"),
        (lambda: Keyspaces(PRODUCT, groups={"all": []}), "groups", "'all' is of no keyspace"),
        (lambda: Keyspaces(PRODUCT, groups={"by:{nope}": PRODUCT}), "groups", "has the part nope"),
        (
            lambda: Keyspaces(PRODUCT, BY_NUMBER, groups={"by:{region}": [PRODUCT, BY_NUMBER]}),
            "groups",
            "has parts of other kinds in product:{region}:{sku}, by_number:{region}; declare them alike",
        ),
    ],
)
def test_what_cannot_be_told_apart_is_refused(make: Callable[[], Any], field: str, words: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        make()
    assert caught.value.field == field
    assert words in str(caught.value)


def test_keyspaces_are_listed_with_their_kinds_and_groups() -> None:
    shop = Keyspaces(
        PRODUCT, PAGE, stores=[BASKET], sessions=SESSION, groups={"pages:{region}": PAGE, "all": [PRODUCT]}
    )
    assert [(one.name, shop.kind(one)) for one in shop] == [
        ("session", "sessions"),
        ("product", "cache"),
        ("page", "cache"),
        ("basket", "store"),
    ]
    assert [group.pattern.text for group in shop.groups_of(PAGE)] == ["pages:{region}"]
    assert shop.groups[0].pattern.key("eu") == "pages:eu"


def test_a_prefix_stands_before_every_key_and_no_group() -> None:
    shop = Keyspaces(PRODUCT, stores=[BASKET], sessions=SESSION, groups={"all:{region}": PRODUCT}).prefixed("p:")
    assert [one.key(*"12"[: len(one.pattern.names)]) if one is not shop.caches[0] else "" for one in shop] == [
        "p:visitor:1",
        "",
        "p:basket:1",
    ]
    assert shop.caches[0].key("eu", 7) == "p:product:eu:7"
    assert shop.groups[0].pattern.key("eu") == "all:eu"
    assert shop.groups_of(shop.caches[0]) == [shop.groups[0]]


async def load(region: str, sku: int = 0) -> int:
    """Finds a number."""
    return sku


def test_a_room_tells_its_caches_groups_stores_and_limits() -> None:
    room = Greenroom(sessions=False, prefix="p:")
    room.cached(PRODUCT, groups=["all:{region}", "every"])(load)
    room.store(BASKET)
    declared = room.declarations
    assert declared.keyspaces.caches == (PRODUCT,)
    assert declared.keyspaces.stores == (BASKET,)
    assert declared.keyspaces.sessions is None
    assert [group.pattern.text for group in declared.keyspaces.groups] == ["all:{region}", "every"]
    assert declared.beside_caches == ()
    assert declared.cache_scripts == ()
    assert (declared.prefix(None), declared.prefix("q:"), declared.prefix("")) == ("p:", "q:", "")
    room.rate_limit("exports", 2, per=HOUR)
    assert room.declarations.beside_caches == (("attempts", "*"),)


def test_a_room_with_sessions_tells_them_and_counts_on_their_server() -> None:
    room = Greenroom()
    room.rate_limit("exports", 2, per=HOUR)
    declared = room.declarations
    assert declared.keyspaces.sessions is not None
    assert declared.beside_caches == ()
    assert set(declared.beside_sessions) == {("active", "contents"), ("listeners", "content:*"), ("attempts", "*")}
