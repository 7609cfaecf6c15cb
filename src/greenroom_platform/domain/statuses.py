"""How far the generation of a podcast is: polled through the cache, or followed."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable

from greenroom.caching import Cache, CacheResult, Outcome
from greenroom.progress import Followers, Later, Look, set_timer
from greenroom_platform.models import STATUSES, PodcastStatus

CHECK = 30.0
"""Seconds after which followers look again even if nothing was told: pushes can be lost."""
WITHOUT_SERVER = 1.0
"""Seconds after which they look again while no push can come."""


class Statuses:
    """The statuses of the platform's podcasts; reads raise as `Cache.get`.

    Arguments:
        cache: of `PODCAST_STATUS`.
        later: what sets the timers of `Followers`.
    """

    def __init__(self, cache: Cache[PodcastStatus], *, later: Later = set_timer) -> None:
        self._cache = cache
        self._followers: Followers[PodcastStatus] = Followers(
            _Cached(cache), STATUSES, lambda value: value.status, later=later
        )

    async def get(self, podcast_id: str) -> PodcastStatus | None:
        """How far a podcast is; None where there is none."""
        return await self._cache.get(podcast_id)

    async def read(self, podcast_id: str) -> CacheResult[PodcastStatus]:
        """How far a podcast is, as JSON too, and how that came about."""
        return await self._cache.get_result(podcast_id)

    def follow(self, podcast_id: str) -> AsyncGenerator[PodcastStatus, None]:
        """The current status, then each later one, never one further back; ends after a terminal one.

        However many follow one podcast in a process, each change costs one read of it. With the engine down it is read
        once a second. A slow follower gets the latest. Where there is no such podcast it ends at once.

        Raises, at the first status:
            InvalidInput: for an id that no key can hold.
            Whatever `read` raises; a later read that fails is repeated.
        """
        return self._followers.follow(podcast_id)

    @property
    def followed(self) -> int:
        """How many podcasts are followed in this process."""
        return len(self._followers)

    async def close(self) -> None:
        """End all following."""
        await self._followers.close()


class _Cached:
    """The cache as a source of what is followed."""

    def __init__(self, cache: Cache[PodcastStatus]) -> None:
        self._cache = cache

    async def look(self, name: str) -> Look[PodcastStatus]:
        read = await self._cache.get_result(name)
        return Look(read.value, _again(read))

    def watch(self, name: str, told: Callable[[], None]) -> Callable[[], None]:
        return self._cache.watch(told, name)


def _again(read: CacheResult[PodcastStatus]) -> float:
    match read.outcome:
        case Outcome.NEAR | Outcome.HIT | Outcome.STALE:
            return CHECK
        case Outcome.LOADED | Outcome.SHARED if read.stored:
            # Its being stored is pushed as well, and so looked at again: only a value read since then is pushed next.
            return CHECK
        case _:
            return WITHOUT_SERVER
