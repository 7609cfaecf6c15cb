"""What a program declares in a room: caches, stores, rate limits, and jobs whose statuses are followed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any, ParamSpec, TypeVar, Unpack, cast

from greenroom import lazy
from greenroom.argument_types import instance
from greenroom.caching import Cache, Loader
from greenroom.caching.declaration_checks import declared_batch_loader, declared_loader
from greenroom.caching.declared import Declared
from greenroom.caching.loader import PlainLoader
from greenroom.caching.options import NEAR_FOR, CacheOptions, all_options, check_names
from greenroom.caching.result import Loaded
from greenroom.engine import EMBEDDED, Engine
from greenroom.keyspace import Keyspace
from greenroom.keyspace.parts import check_part
from greenroom.room_drops import RoomDrops

P = ParamSpec("P")
T = TypeVar("T")


class RoomCaches(RoomDrops):
    """The caches and jobs of a room, which `Greenroom` opens and closes with its servers.

    Arguments:
        sessions: those of the room, whose keys no cache may make.
        prefix: put before every key.
    """

    def __init__(self, sessions: lazy.SessionSettings | bool, prefix: str) -> None:
        super().__init__(sessions, prefix)
        self._jobs: Declared[lazy.Jobs[Any]] = Declared(self._caches.openings)
        self._replaced_jobs: list[lazy.Jobs[Any]] = []
        self._limits: Declared[lazy.Bound] = Declared(self._caches.openings)
        self._address = self._session_address = EMBEDDED

    def cache(
        self,
        keyspace: Keyspace[T],
        *,
        load: Loader[T] | PlainLoader[T],
        **options: Unpack[CacheOptions[T]],
    ) -> Cache[T]:
        """A read-through cache over a keyspace, which answers while the room is open.

        Arguments:
            load: reads one value, given the key's parts by keyword, or by position where there is one part; returns
                None where there is none. It must see everything committed before it is called. One that is not async
                runs in a thread, of which a room has 16.
            load_many: reads several for `get_many`: given a list of parts (mappings, or bare values where a key has one
                part), returns as many values in their order.
            loader_deadline: after it a load is cancelled; 5 s unless given.
            near_for: how long a value is served from this process, 30 s unless given; zero keeps nothing here.
            groups: keys that one change makes stale together, as `episodes:{show_id}`, made of parts of the key;
                `invalidate_group` drops them.
            max_concurrent: loads at a time while the server cannot be asked; 16 unless given.
            failures_for: how long a loader's failure is remembered, 1 s unless given: callers meanwhile get
                `LoadFailed` and the record is left alone. At most a minute; zero remembers none.
            passes: exceptions by which the loader answers, as `PermissionError`: raised as they are to those who wait
                for the load, never remembered, counted or logged as failures.

        The loader may return a `Loaded`, which says how long its value is kept.

        The same arguments give the cache that was made before.

        Raises:
            InvalidInput: for arguments that can never work, and for a key format that can make the keys of another
            cache of this room or of its sessions: the two would return each other's values.
        """
        instance("keyspace", keyspace, Keyspace, "give a Keyspace('episode:{id}', Episode, ttl=…)")
        declared = all_options(options)

        def threads() -> lazy.LoaderThreads:
            return self._caches.threads

        def make() -> Cache[T]:
            load_many = declared["load_many"]
            return Cache(
                keyspace.prefixed(self.prefix),
                declared_loader(keyspace, load, threads),
                load_many=None if load_many is None else declared_batch_loader(load_many, threads),
                loader_deadline=declared["loader_deadline"].total_seconds(),
                near_for=declared["near_for"].total_seconds(),
                groups=declared["groups"],
                max_concurrent=declared["max_concurrent"],
                failures_for=declared["failures_for"].total_seconds(),
                passes=tuple(declared["passes"]),
            )

        return self._caches.cache(keyspace, {"load": load, **declared}, make, sessions=self._session_keyspace())

    def cached(
        self,
        keyspace: Keyspace[T],
        **options: Unpack[CacheOptions[T]],
    ) -> Callable[[Callable[P, Awaitable[T | Loaded[T] | None] | T | Loaded[T] | None]], lazy.CachedFunction[P, T]]:
        """`cache` as a decorator of the loader: the function is called as before, and its results are cached.

        Its parameters are the parts of the key, in their order. The other arguments are those of `cache`.

        Raises:
            InvalidInput: as `cache`, and for a function with other parameters.
        """
        from greenroom.cached import CachedFunction, check_parameters

        check_names(options)

        def decorate(
            load: Callable[P, Awaitable[T | Loaded[T] | None] | T | Loaded[T] | None],
        ) -> lazy.CachedFunction[P, T]:
            check_parameters(keyspace, load)
            return CachedFunction(self.cache(keyspace, load=cast("Loader[T]", load), **options), load)

        return decorate

    def store(self, keyspace: Keyspace[T], *, near_for: timedelta = NEAR_FOR) -> lazy.Store[T]:
        """Values of a keyspace that the program writes itself; for what has no loader.

        Arguments:
            near_for: as of `cache`; zero for what changes at almost every read.

        Raises:
            InvalidInput: as `cache`; for a keyspace that has a cache, a soft lifetime, or a part named `ttl` or
                `create`, as an argument is.
        """
        from greenroom.caching.declared_store import declare_store  # not with the package: most rooms have caches only

        sessions = self._session_keyspace()
        return declare_store(self._caches, keyspace, near_for=near_for, prefix=self.prefix, sessions=sessions)

    def rate_limit(self, kind: str, limit: int, *, per: timedelta) -> lazy.RateLimit:
        """How often something may be done under one name, counted on the server for all processes.

        It is the server of the sessions, where the room keeps any: that of caches may evict what it counts.

        Arguments:
            kind: what is done, as "exports": the same name of another kind is another.
            limit: at most so many in any time `per`.

        Raises:
            InvalidInput: for a limit or a time that is none, and for a kind that has another limit in this room; that
                of an earlier block is replaced.
        """
        from greenroom.rate_limit import Bound, RateLimit, check_same  # as `store`

        bound = Bound(limit, per)
        check_part("kind", kind)
        if self._limits.same(kind, lambda known: check_same(kind, bound, known)) is None:
            self._limits.put(kind, bound)
        return RateLimit(self._counting_engine, self.prefix, kind, bound)

    def progress(
        self,
        keyspace: Keyspace[T],
        *,
        load: Loader[T] | PlainLoader[T],
        order: lazy.Order,
        status: Callable[[T], str] | None = None,
    ) -> lazy.Jobs[T]:
        """How far jobs are: each status is read through a cache, and followed to its end.

        Arguments:
            keyspace: of the jobs' statuses, with one part: the job's id.
            load: reads the status of a job from the record; None where there is no such job.
            order: the steps of a job.
            status: the step of a value; by default its member `status`.

        Raises:
            InvalidInput: as `cache`; for a keyspace of several parts, an order that is no `Order`, and a type without
                the member `status` where `status` is not given; for another order or status than before, unless that
                was in an earlier block.
        """
        from greenroom.progress.jobs import Jobs, check_jobs  # as sessions

        if isinstance(keyspace, Keyspace):
            check_jobs(keyspace, order, status)
        cache, text = self.cache(keyspace, load=load), keyspace.pattern.text
        before = self._jobs.get(text)
        if before is not None and before.cache is cache:
            same = self._jobs.same(text, lambda known: known.check_same(order, status))
            if same is not None:
                return same
        new = Jobs(cache, order, status)
        if before is not None:
            self._replaced_jobs.append(before)
        self._jobs.put(text, new)
        return new

    @property
    def caches(self) -> tuple[Cache[Any], ...]:
        """The caches that are declared here so far, for who looks at them; stores are none."""
        return tuple(one for one in self._caches if isinstance(one, Cache))

    @property
    def declarations(self) -> lazy.Declarations:
        """What is declared here so far, for `greenroom definitions` and `greenroom acl`; the room need not be open.

        Raises:
            InvalidInput: for two keyspaces of one name, whose definitions nobody could tell apart.
        """
        from greenroom.declarations import of_room  # not with the package: for commands alone
        from greenroom.deployment import deployed_room

        settings = self._session_settings()
        keyspaces = self._caches.keyspaces(self._session_keyspace())
        content = None if settings is None else settings.streams.content
        caches = ((one.keyspace.pattern.text, one.load) for one in self.caches)
        deployment = deployed_room(caches, address=self._address, session_address=self._session_address)
        return of_room(keyspaces, content=content, limits=bool(self._limits), prefix=self.prefix, deployment=deployment)

    # ------------------------------------------------------------------------------------------------

    async def _close_caches(self) -> None:
        for jobs in (*self._jobs, *self._replaced_jobs):
            await jobs.close()
        self._replaced_jobs.clear()
        await self._caches.close()

    def _counting_engine(self) -> Engine:
        self.opened.check()
        wiring = self._wired()
        return wiring.backing.engine if wiring.sessions is None else wiring.sessions.engine
