"""Declarations of caches and stores: one of them for each key format.

Two caches of one format would share keys and give each other's values: a public user where the whole one is meant, what
one loader found where another is asked. So a second declaration is the first, or it is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

from greenroom.caching.cache import Cache
from greenroom.caching.invalidation import Backing
from greenroom.errors import GreenroomError, InvalidInput
from greenroom.keyspace import Keyspace
from greenroom.keyspace.overlap import can_make_one_key
from greenroom.opened import Opened

if TYPE_CHECKING:
    from greenroom.caching.store import Store
    from greenroom.caching.threads import LoaderThreads
    from greenroom.keyspace.registry import Keyspaces

T = TypeVar("T")
V = TypeVar("V")

_ONCE = "declare it once and share the cache, or give the second one a key format of its own"


class Openings:
    """The openings of a room, and which of them a declaration belongs to, by its number; None stands for every one.

    What was declared while the room was closed, at module level, belongs to every opening. What was declared while it
    was open lives on too, unless a later opening declares another in its place: what a program declares in its block,
    with loaders that are made there, it declares in each.
    """

    def __init__(self) -> None:
        self._number = 0
        self._opened = Opened(begun=False)

    def begin(self, opened: Opened) -> None:
        """The room is open."""
        self._number += 1
        self._opened = opened

    @property
    def current(self) -> int | None:
        """The opening that a declaration made now belongs to; every one where the room is closed, or open elsewhere."""
        try:
            self._opened.check_open()
        except GreenroomError:
            return None
        return self._number

    def may_replace(self, opening: int | None) -> bool:
        """Whether another declaration may take the place of one that belongs to `opening`."""
        return opening is not None and opening != self.current

    def again(self, opening: int | None) -> int | None:
        """The opening of one that is declared again, the same."""
        return None if opening is None else self.current


class Declared(Generic[V]):
    """Declarations by their names: one of each, until a later opening declares another in its place."""

    def __init__(self, openings: Openings) -> None:
        self._openings = openings
        self._declared: dict[str, tuple[V, int | None]] = {}

    def __iter__(self) -> Iterator[V]:
        return (value for value, _ in self._declared.values())

    def __len__(self) -> int:
        return len(self._declared)

    def get(self, name: str) -> V | None:
        """The declaration of a name."""
        value, _ = self._declared.get(name, (None, None))
        return value

    def same(self, name: str, check: Callable[[V], None]) -> V | None:
        """The declaration of a name if it is declared the same again; None where another may be put.

        Arguments:
            check: refuses one that differs.

        Raises:
            InvalidInput: as `check`, unless an earlier opening has declared that one.
        """
        if name not in self._declared:
            return None
        value, opening = self._declared[name]
        try:
            check(value)
        except InvalidInput:
            if not self._openings.may_replace(opening):
                raise
            return None
        self._declared[name] = value, self._openings.again(opening)
        return value

    def put(self, name: str, value: V) -> None:
        """Declare it now."""
        self._declared[name] = value, self._openings.current


class _DeclaredCache(NamedTuple):
    keyspace: Keyspace[Any]
    options: Mapping[str, Any]
    kind: str
    """A cache, or a store."""
    cache: Cache[Any] | Store[Any]
    opening: int | None
    """See `Openings`."""


class DeclaredCaches:
    """Every cache and store that was declared in a room, with what it was declared by."""

    def __init__(self) -> None:
        self.openings = Openings()
        """Those of the room."""
        self._declared: list[_DeclaredCache] = []
        self._replaced: list[Cache[Any] | Store[Any]] = []
        self._open: tuple[Backing, Opened] | None = None
        self._threads: LoaderThreads | None = None

    def __iter__(self) -> Iterator[Cache[Any] | Store[Any]]:
        return (one.cache for one in self._declared)

    def open(self, backing: Backing, opened: Opened) -> None:
        """Let the caches answer: the room is open."""
        self.openings.begin(opened)
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

    def keyspace_of(self, pattern: str) -> Keyspace[Any] | None:
        """The keyspace of a cache by its key format, as it was declared; None where there is no such cache."""
        found = (one.keyspace for one in self._declared if one.kind == "cache" and one.keyspace.pattern.text == pattern)
        return next(found, None)

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
        kept: list[_DeclaredCache] = []
        replaced: list[Cache[Any] | Store[Any]] = []
        for at, one in enumerate(self._declared):
            same = one.kind == kind and one.keyspace.pattern.text == keyspace.pattern.text
            if same and not _differences(one, keyspace, options):
                self._declared[at] = one._replace(opening=self.openings.again(one.opening))
                return one.cache
            if not self.openings.may_replace(one.opening):
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
        self._declared = [*kept, _DeclaredCache(keyspace, dict(options), kind, cache, self.openings.current)]
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


def _check_other(one: _DeclaredCache, kind: str, keyspace: Keyspace[Any], options: Mapping[str, Any]) -> None:
    text = keyspace.pattern.text
    if one.keyspace.pattern.text == text:
        if one.kind != kind:
            remedy = f"a keyspace is either a cache's or a store's: give the {kind} a key format of its own"
            raise InvalidInput("keyspace", f"{text!r} is that of a {one.kind} already", remedy)
        different = ", ".join(_differences(one, keyspace, options))
        raise InvalidInput("keyspace", f"{text!r} has a {kind} that differs in {different}", _ONCE)
    check_apart(keyspace, one.keyspace, f"another {one.kind} of this room")


def _differences(one: _DeclaredCache, keyspace: Keyspace[Any], options: Mapping[str, Any]) -> list[str]:
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
