"""How far jobs of one kind are: polled through a cache, or followed."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from operator import attrgetter
from typing import Generic, TypeVar

from greenroom.caching import Cache, CacheResult, Outcome
from greenroom.errors import InvalidInput
from greenroom.progress.follow import Followers, Later, Look, set_timer
from greenroom.progress.order import Order

T = TypeVar("T")

CHECK = 30.0
"""Seconds after which followers look again even if nothing was pushed: pushes can be lost."""
WITHOUT_SERVER = 1.0
"""Seconds after which they look again while no push can come."""


class Jobs(Generic[T]):
    """The statuses of jobs; reads raise as `Cache.get`.

    Arguments:
        cache: of the statuses; its keys have one part, the job's id.
        order: the steps of a job.
        status: the step of a value; by default its member `status`.
        later: sets the timers of `Followers`.

    Raises:
        InvalidInput: for a cache whose keys have other parts.
    """

    def __init__(
        self,
        cache: Cache[T],
        order: Order,
        status: Callable[[T], str] | None = None,
        *,
        later: Later = set_timer,
    ) -> None:
        if len(cache.keyspace.pattern.names) != 1:
            raise InvalidInput("keyspace", f"{cache.keyspace} has not one part", "use a key like status:{job_id}")
        self.cache = cache
        self._order = order
        self._followers: Followers[T] = Followers(
            _CachedStatuses(cache), order, status or attrgetter("status"), later=later
        )

    async def get(self, job_id: str) -> T | None:
        """How far a job is; None where there is none."""
        return await self.cache.get(job_id)

    async def read(self, job_id: str) -> CacheResult[T]:
        """How far a job is, as JSON too, and how that came about."""
        return await self.cache.get_result(job_id)

    def follow(self, job_id: str) -> AsyncGenerator[T, None]:
        """The current status, then each later one, never one further back; ends after a terminal one.

        However many follow one job in a process, each change costs one read of it. With the engine down it is read
        once a second. A slow follower gets the latest. Where there is no such job it ends at once.

        Raises, at the first status:
            InvalidInput: for an id that no key can hold.
            Whatever `read` raises; a later read that fails is repeated.
        """
        return self._followers.follow(job_id)

    @property
    def followed(self) -> int:
        """How many jobs are followed in this process."""
        return len(self._followers)

    async def close(self) -> None:
        """End all following."""
        await self._followers.close()


class _CachedStatuses(Generic[T]):
    """The cache as a source of what is followed."""

    def __init__(self, cache: Cache[T]) -> None:
        self._cache = cache

    async def look(self, name: str) -> Look[T]:
        read = await self._cache.get_result(name)
        return Look(read.value, _look_again_after(read.outcome, stored=read.stored))

    def watch(self, name: str, callback: Callable[[], None]) -> Callable[[], None]:
        return self._cache.watch(callback, name)


def _look_again_after(outcome: Outcome, *, stored: bool) -> float:
    match outcome:
        case Outcome.NEAR | Outcome.HIT | Outcome.STALE:
            return CHECK
        case Outcome.LOADED | Outcome.SHARED if stored:
            # Its being stored is pushed as well, and so looked at again: only a value read since then is pushed next.
            return CHECK
        case _:
            return WITHOUT_SERVER
