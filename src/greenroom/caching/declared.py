"""Declarations of caches and stores: one of them for each key format.

Two caches of one format would share keys and give each other's values: a public user where the whole one is meant, what
one loader found where another is asked. So a second declaration is the first, or it is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from greenroom.caching.cache import Cache
from greenroom.caching.invalidation import Backing
from greenroom.errors import InvalidInput
from greenroom.keyspace import Keyspace
from greenroom.keyspace.overlap import can_make_one_key
from greenroom.opened import Opened

if TYPE_CHECKING:
    from greenroom.caching.store import Store
    from greenroom.caching.threads import LoaderThreads
    from greenroom.keyspace.registry import Keyspaces

T = TypeVar("T")

_ONCE = "declare it once and share the cache, or give the second one a key format of its own"


class _Declared(NamedTuple):
    keyspace: Keyspace[Any]
    options: Mapping[str, Any]
    kind: str
    """A cache, or a store."""
    cache: Cache[Any] | Store[Any]
    opening: int | None
    """The number of the opening in which it was declared; None of one that was declared while the room was closed."""


class DeclaredCaches:
    """Every cache and store that was declared in a room, with what it was declared by.

    A cache that was declared while the room was closed, at module level, belongs to every opening. One that was
    declared while it was open is opened again too, unless a later opening declares another in its place: what a program
    declares in its block, with loaders that are made there, it declares in each.
    """

    def __init__(self) -> None:
        self._declared: list[_Declared] = []
        self._replaced: list[Cache[Any] | Store[Any]] = []
        self._openings = 0
        self._open: tuple[Backing, Opened] | None = None
        self._threads: LoaderThreads | None = None

    def __iter__(self) -> Iterator[Cache[Any] | Store[Any]]:
        return (one.cache for one in self._declared)

    def open(self, backing: Backing, opened: Opened) -> None:
        """Let the caches answer: the room is open."""
        self._openings += 1
        self._open = backing, opened
        for one in self._declared:
            one.cache.open(backing, opened)

    async def close(self) -> None:
        """Close every cache, until the room is open again."""
        self._open = None
        for cache in (*self, *self._replaced):
            await cache.close()
        self._replaced.clear()
        if self._threads is not None:
            self._threads.close()

    def cache(
        self,
        keyspace: Keyspace[T],
        options: Mapping[str, Any],
        make: Callable[[], Cache[T]],
        *,
        sessions: Keyspace[Any] | None = None,
    ) -> Cache[T]:
        """The cache of these arguments: the one that there is, or a new one.

        Arguments:
            keyspace: as it was declared, without the room's prefix.
            options: all that it is declared by besides, its loaders among it.
            sessions: the keyspace of the room's sessions, where it keeps any.

        Raises:
            InvalidInput: when another cache of the room, or its sessions, can make the same keys.
            RoomElsewhere: for a new one, in another event loop or process than that in which the room is open.
        """
        cache: Cache[T] = self._declare("cache", keyspace, options, make, sessions)
        return cache

    def store(
        self,
        keyspace: Keyspace[T],
        options: Mapping[str, Any],
        make: Callable[[], Store[T]],
        *,
        sessions: Keyspace[Any] | None = None,
    ) -> Store[T]:
        """The store of these arguments, as `cache`."""
        store: Store[T] = self._declare("store", keyspace, options, make, sessions)
        return store

    def is_store(self, keyspace: Keyspace[Any]) -> bool:
        """Whether a store has this key format."""
        return any(one.kind == "store" and one.keyspace.pattern.text == keyspace.pattern.text for one in self._declared)

    def keyspaces(self, sessions: Keyspace[Any] | None) -> Keyspaces:
        """All keyspaces that are declared, with the groups of the caches.

        Arguments:
            sessions: that of the sessions, where the room keeps any.
        """
        from greenroom.keyspace.registry import Keyspaces  # not with the package: for commands alone

        groups: dict[str, list[Keyspace[Any]]] = {}
        for one in self._declared:
            for text in one.options.get("groups", ()):
                groups.setdefault(text, []).append(one.keyspace)
        return Keyspaces(
            *(one.keyspace for one in self._declared if one.kind == "cache"),
            stores=[one.keyspace for one in self._declared if one.kind == "store"],
            sessions=sessions,
            groups=groups,
        )

    def _declare(
        self,
        kind: str,
        keyspace: Keyspace[Any],
        options: Mapping[str, Any],
        make: Callable[[], Any],
        sessions: Keyspace[Any] | None,
    ) -> Any:
        if sessions is not None:
            check_apart(keyspace, sessions, "the sessions of this room")
        kept: list[_Declared] = []
        replaced: list[Cache[Any] | Store[Any]] = []
        for one in self._declared:
            same = one.kind == kind and one.keyspace.pattern.text == keyspace.pattern.text
            if same and not _differences(one, keyspace, options):
                return one.cache
            if one.opening is None or (self._open is not None and one.opening == self._openings):
                _check_other(one, kind, keyspace, options)
            elif can_make_one_key(keyspace.pattern, one.keyspace.pattern):
                replaced.append(one.cache)  # of an earlier opening
                continue
            kept.append(one)
        if self._open is not None:
            # Otherwise it would wait in one event loop for what the room's connection is told in another.
            self._open[1].check()
        cache = make()
        if self._open is not None:
            cache.open(*self._open)
            self._replaced += replaced
        opening = None if self._open is None else self._openings
        self._declared = [*kept, _Declared(keyspace, dict(options), kind, cache, opening)]
        return cache

    @property
    def threads(self) -> LoaderThreads:
        """Where the loaders run that are not async."""
        if self._threads is None:
            from greenroom.caching.threads import LoaderThreads  # not with the package: few rooms need it

            self._threads = LoaderThreads()
        return self._threads


def check_apart(keyspace: Keyspace[Any], other: Keyspace[Any], whose: str) -> None:
    """Refuse a keyspace that can make a key of another.

    Raises:
        InvalidInput: naming both.
    """
    if can_make_one_key(keyspace.pattern, other.pattern):
        text, theirs = keyspace.pattern.text, other.pattern.text
        raise InvalidInput("keyspace", f"{text!r} can make the same key as {theirs!r} of {whose}", _ONCE)


def _check_other(one: _Declared, kind: str, keyspace: Keyspace[Any], options: Mapping[str, Any]) -> None:
    text = keyspace.pattern.text
    if one.keyspace.pattern.text == text:
        if one.kind != kind:
            remedy = f"a keyspace is either a cache's or a store's: give the {kind} a key format of its own"
            raise InvalidInput("keyspace", f"{text!r} is that of a {one.kind} already", remedy)
        different = ", ".join(_differences(one, keyspace, options))
        raise InvalidInput("keyspace", f"{text!r} has a {kind} that differs in {different}", _ONCE)
    check_apart(keyspace, one.keyspace, f"another {one.kind} of this room")


def _differences(one: _Declared, keyspace: Keyspace[Any], options: Mapping[str, Any]) -> list[str]:
    mine, theirs = {**_facts(keyspace), **options}, {**_facts(one.keyspace), **one.options}
    # By `==`: a bound method is another object each time that it is looked up.
    return sorted(name for name in mine if mine[name] != theirs.get(name))


def _facts(keyspace: Keyspace[Any]) -> dict[str, Any]:
    lifetime = keyspace.lifetime
    return {
        "type": keyspace.type,
        "version": keyspace.version,
        "parts": keyspace.pattern.declared,
        "limit": keyspace.limit,
        "ttl": lifetime.ttl,
        "fresh": lifetime.fresh,
        "jitter": lifetime.jitter,
        "name": keyspace.name,
    }
