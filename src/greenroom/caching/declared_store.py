"""Declarations of stores: one for each key format, which no cache has."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, TypeVar

from greenroom.argument_types import instance
from greenroom.caching.declaration_checks import check_options
from greenroom.caching.declared import DeclaredCaches
from greenroom.caching.store import OPTIONS, Store
from greenroom.errors import InvalidInput
from greenroom.keyspace import Keyspace

T = TypeVar("T")


def declare_store(
    declared: DeclaredCaches, keyspace: Keyspace[T], *, near_for: timedelta, prefix: str, sessions: Keyspace[Any] | None
) -> Store[T]:
    """The store of these arguments: the one that there is, or a new one.

    Arguments:
        declared: of the room.
        prefix: the room's.
        sessions: the keyspace of the room's sessions, where it keeps any.

    Raises:
        InvalidInput: for what is no keyspace or can never work, and for keys that another cache or store can make.
        RoomElsewhere: as `DeclaredCaches.cache`.
    """
    instance("keyspace", keyspace, Keyspace, "give a Keyspace('basket:{user}', Basket, ttl=…)")
    if taken := sorted(OPTIONS.intersection(keyspace.pattern.names)):
        reason = f"{keyspace.pattern.text!r} has a part {taken[0]}, which is an argument of a store's calls"
        raise InvalidInput("keyspace", reason, "give the part another name")
    if keyspace.lifetime.fresh is not None:
        reason = f"{keyspace} has a soft lifetime, and a store refreshes nothing"
        raise InvalidInput("fresh", reason, "leave it out, or use `room.cache` with a loader")
    if keyspace.version:
        reason = f"{keyspace} has one, and a store has no loader to replace values of another version"
        raise InvalidInput("version", reason, "leave it out, or give the new values a key format of their own")
    check_options({"near_for": near_for})

    def make() -> Store[T]:
        return Store(keyspace.prefixed(prefix), near_for=near_for.total_seconds())

    return declared.store(keyspace, {"near_for": near_for}, make, sessions=sessions)
