"""How far jobs of one kind are: polled through a cache, or followed."""

from __future__ import annotations

import enum
import re
import types
import typing
from collections.abc import Callable, Iterable, Iterator
from operator import attrgetter
from typing import Any, Generic, TypeVar

import msgspec

from greenroom.argument_types import type_name
from greenroom.caching import Cache, CacheResult, Outcome
from greenroom.errors import InvalidInput
from greenroom.keyspace import Keyspace
from greenroom.keyspace.type_parts import members, parts
from greenroom.progress.event_ids import event_ids
from greenroom.progress.events import ProgressEvents
from greenroom.progress.follow import Followers, Later, Look, set_timer
from greenroom.progress.following import Following
from greenroom.progress.order import Order

T = TypeVar("T")

CHECK = 30.0
"""Seconds after which followers look again even if nothing was pushed: pushes can be lost."""
WITHOUT_SERVER = 1.0
"""Seconds after which they look again while no push can come."""
_STATUS = attrgetter("status")
_EVENT = re.compile(r"[A-Za-z0-9_.-]+")
_AS_FUNCTION = "say what a value's status is, as status=lambda job: job.state"


class Jobs(Generic[T]):
    """The statuses of jobs; reads raise as `Cache.get`.

    Arguments:
        cache: of the statuses; its keys have one part, the job's id.
        order: the steps of a job.
        status: the step of a value, as text or an enum of text; by default its member `status`. None is behind every
            step.
        later: sets the timers of `Followers`.

    Raises:
        As `check_jobs`.
    """

    def __init__(
        self,
        cache: Cache[T],
        order: Order,
        status: Callable[[T], str] | None = None,
        *,
        later: Later = set_timer,
    ) -> None:
        check_jobs(cache.keyspace, order, status)
        self.cache = cache
        self._order = order
        self._status = status
        self._step = _step(status or _STATUS)
        self._followers: Followers[T] = Followers(
            _CachedStatuses(cache),
            order,
            self._step,
            later=later,
            context=lambda: cache.context,
            key=cache.keyspace.key,
        )

    def check_same(self, order: Order, status: Callable[[T], str] | None) -> None:
        """Refuse a second declaration that differs from this one.

        Raises:
            InvalidInput: naming what differs.
        """
        remedy = "declare it once and share it, or give the second one a key format of its own"
        for name, mine, theirs in (("order", order, self._order), ("status", status, self._status)):
            if mine != theirs:
                raise InvalidInput(name, f"is not the one that {self.cache.keyspace} was declared with", remedy)

    async def get(self, job_id: Any) -> T | None:
        """How far a job is; None where there is none. Its id is whatever the key's part is: text, a number, a UUID."""
        return await self.cache.get(job_id)

    async def read(self, job_id: Any) -> CacheResult[T]:
        """How far a job is, as JSON too, and how that came about."""
        return await self.cache.get_result(job_id)

    def follow(self, job_id: Any) -> Following[T]:
        """The current status, then each later one, never one further back; ends after a terminal one.

        `async for job in jobs.follow("a")`. However many follow one job in a process, each change costs one read of it.
        With the engine down it is read once a second. A slow follower gets the latest. Where there is no such job it
        ends at once; `await jobs.follow("a")` is then None, and what is followed else.

        Raises:
            RoomClosed: when the room is closed before the job has ended.
            InvalidInput: at the first status, for an id that no key can hold; for a status that is no text.
            Whatever `read` raises, at the first status; a later read that fails is repeated.
            Whatever the function `status` raises.
        """
        return Following(self._followers.follow(job_id))

    async def sse(
        self, job_id: Any, *, last_event_id: str | None = None, event: str = "status"
    ) -> ProgressEvents[T] | None:
        """What `follow` gives, as an answer of server-sent events; None where there is no such job.

        A Starlette endpoint returns it as it is. Elsewhere: `StreamingResponse(events, status_code=events.status,
        media_type=events.media_type, headers=events.headers)` of FastAPI; `Stream(…)` of Litestar likewise, with the
        `media_type` at its handler too.

        Arguments:
            last_event_id: the request's `Last-Event-ID`; that event is not sent again.
            event: the name of the events, for `addEventListener` in a page.

        Raises:
            InvalidInput: for an id that no key can hold, an event that is no word, and a status that is no text.
            Whatever `read` raises, and the function `status`.
        """
        if not isinstance(event, str) or not _EVENT.fullmatch(event):
            raise InvalidInput("event", f"is {event!r:.80}", "give a word, as 'status'")
        following = self.follow(job_id)
        first = await following.first()
        if first is None:
            return None
        keyspace = self.cache.keyspace
        event_id = event_ids(keyspace.type)

        def encode(value: T) -> bytes:
            return keyspace.encode(keyspace.pattern.text, value)

        is_last = self._order.ended(self._step(first))
        done = is_last and event_id(encode(first)) == last_event_id
        return ProgressEvents(following, encode, event_id, last=last_event_id, done=done, name=event)

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


def _step(status: Callable[[Any], object]) -> Callable[[Any], str]:
    """Reads the step of a value as the order has it: as text.

    Prevents: a status is an enum, and equal to no step · the last one is no end · its followers wait for ever.
    """

    def step(value: Any) -> str:
        read = status(value)
        if isinstance(read, enum.Enum):
            read = read.value
        if isinstance(read, str):
            return read
        if read is None or read is msgspec.UNSET:
            return ""  # which no order has as a step
        raise InvalidInput("status", f"is {type_name(read)} in a value", "give a step of the order, as text")

    return step


def check_jobs(keyspace: Keyspace[Any], order: object, status: object) -> None:
    """Refuse what statuses of jobs cannot be declared by.

    Raises:
        InvalidInput: for a keyspace of several parts, an order that is no `Order`, a status that is no function; where
            no function says what the status is, for a type that has no member `status`, or one of an enum or literals
            that are no steps.
    """
    if len(keyspace.pattern.names) != 1:
        raise InvalidInput("keyspace", f"{keyspace} has not one part", "use a key like status:{job_id}")
    if not isinstance(order, Order):
        raise InvalidInput("order", f"is {order!r:.80}", "give an Order('queued', 'done', failure='failed')")
    if status is not None:
        if not callable(status):
            raise InvalidInput("status", f"is {status!r:.80}", "give a function of a value, as lambda job: job.state")
        return
    for class_ in _classes(keyspace.type):
        hints = members(class_)
        if "status" not in hints and not hasattr(class_, "status"):
            raise InvalidInput("status", f"{class_.__name__} has no member of this name", _AS_FUNCTION)
        for word in _words(hints.get("status")):
            # A last status that the order does not know would be no end, and its followers would wait for ever.
            if word is not None and word not in order:
                raise InvalidInput(
                    "status", f"{word!r:.80} of {class_.__name__} is not a step of {order}", _AS_FUNCTION
                )


def _words(hint: Any) -> Iterator[object]:
    """What a member can hold, as far as its type lists that."""
    for part in parts(hint):
        if typing.get_origin(part.type) is typing.Literal:
            yield from typing.get_args(part.type)
        elif isinstance(part.type, enum.EnumMeta):
            yield from (one.value for one in typing.cast(Iterable[enum.Enum], part.type))


def _classes(type_: Any) -> Iterator[type]:
    """The classes that values of a declared type are of."""
    origin = typing.get_origin(type_)
    if isinstance(type_, typing.NewType):
        yield from _classes(type_.__supertype__)
    elif origin is typing.Annotated:
        yield from _classes(typing.get_args(type_)[0])
    elif origin in (typing.Union, types.UnionType):
        for one in typing.get_args(type_):
            yield from _classes(one)
    elif hasattr(type_, "__value__") and not isinstance(type_, type):  # `type Name = ...` of Python 3.12
        yield from _classes(type_.__value__)
    elif isinstance(class_ := origin or type_, type):
        yield class_
