"""Progress of jobs as threads use it: each status through the cache, and `for status in jobs.follow("a")`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from greenroom.caching.result import CacheResult
from greenroom.errors import RoomElsewhere
from greenroom.progress import Following
from greenroom.progress.jobs import Jobs as AsyncJobs
from greenroom.sync.caches import Cache

if TYPE_CHECKING:
    from greenroom.sync.client import Greenroom

T = TypeVar("T")


_END: Any = object()


class Followed(Iterator[T]):
    """The statuses of a job as they come; made by `Jobs.follow`. For one thread at a time."""

    def __init__(self, room: Greenroom, cache: Cache[T], follow: Callable[[], Following[T]], job_id: Any) -> None:
        self._room = room
        self._cache = cache
        self._follow = follow
        self._job_id = job_id
        self._opened: object = None
        self._following: Following[T] | None = None
        self._next: asyncio.Task[T] | None = None
        self._ended = False

    def __next__(self) -> T:
        if self._ended:
            raise StopIteration
        status: T = self._cache.run_waiting((self._job_id,), self._await_next)
        if status is _END:
            self._ended = True
            raise StopIteration
        return status

    def close(self) -> None:
        """Stop following; waits for nobody."""
        ended, self._ended = self._ended, True
        if not ended and self._following is not None:
            self._room.post(self._stop)

    def __del__(self) -> None:
        self.close()

    # In the loop --------------------------------------------------------------------------------------

    async def _await_next(self) -> T:
        if self._following is None:
            self._following, self._opened = self._follow(), self._room.room
        if self._opened is not self._room.room:
            raise RoomElsewhere("it was followed in the process that this one was forked from", "follow it anew")
        # A thread that was interrupted has left it under way: then this is the status that it waited for.
        if self._next is None:
            self._next = asyncio.ensure_future(_next_of(self._following))
        under_way = self._next
        try:
            return await asyncio.shield(under_way)
        except asyncio.CancelledError:
            if self._ended:  # another thread has closed it
                end: T = _END
                return end
            raise
        finally:
            # Also after an error: it is raised once, and then this has ended, as a generator.
            if under_way.done():
                self._next = None

    def _stop(self) -> None:
        if self._next is not None:
            self._next.cancel()
        elif self._following is not None:
            closing = asyncio.ensure_future(self._following.aclose())
            closing.add_done_callback(lambda ended: ended.cancelled() or ended.exception())


async def _next_of(following: Following[T]) -> T:
    try:
        return await anext(following)
    except StopAsyncIteration:
        end: T = _END
        return end


class Jobs(Generic[T]):
    """The statuses of jobs, from any thread; made by `Greenroom.progress`. Each call raises as `Cache.get`.

    Arguments:
        cache: of the statuses; its keys have one part, the job's id.
        declare: returns the jobs of the asynchronous room.
    """

    def __init__(self, room: Greenroom, cache: Cache[T], declare: Callable[[], AsyncJobs[T]]) -> None:
        self._room = room
        self._declare = declare
        self.cache = cache

    def get(self, job_id: Any) -> T | None:
        """How far a job is; None where there is none."""
        return self.cache.get(job_id)

    def read(self, job_id: Any) -> CacheResult[T]:
        """How far a job is, as JSON too, and how that came about."""
        return self.cache.get_result(job_id)

    def follow(self, job_id: Any) -> Followed[T]:
        """The current status, then each later one, never one further back; ends after a terminal one.

        `for status in jobs.follow("a")`: see `greenroom.progress.Jobs.follow`. Where there is no such job it ends at
        once. A thread that stops before the end closes it, or lets it go.
        """
        return Followed(self._room, self.cache, lambda: self._declare().follow(job_id), job_id)
