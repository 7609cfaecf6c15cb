"""Podcasts in lists: those of a topic, those that somebody has listened to, and who waits for a worker."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

import msgspec

from greenroom.clock import Clock
from greenroom.errors import InvalidInput
from greenroom.keyspace.parts import is_part
from greenroom.opened import Opened
from greenroom_platform.domain.action_log import ActionLog, is_paused
from greenroom_platform.domain.briefly import Briefly
from greenroom_platform.domain.records import UserRecords
from greenroom_platform.domain.task_records import Listed, TaskRecords, Waiting
from greenroom_platform.domain.topics import Topics
from greenroom_platform.models import HeardPodcast, Timestamp, given_in_utc

HISTORY = 200
"""Podcasts of a user's history; of more the one that was listened to longest ago goes."""
PAGE = 20
"""Podcasts on a page of it."""
LONGEST = 24 * 3600.0
"""Seconds into a recording that may be told."""
_BRIEF = 1.0
"""Seconds for which the queue, and the podcasts of a topic, are shared by all who ask."""


class ListedPodcast(msgspec.Struct, frozen=True, kw_only=True):
    """A podcast, as lists have it."""

    podcast_id: str
    topic_id: str
    topic_name: str
    created_at: Timestamp
    duration_seconds: float | msgspec.UnsetType = msgspec.UNSET
    status: str


class HistoryEntry(ListedPodcast, frozen=True, kw_only=True):
    """A podcast that a user has listened to."""

    position_seconds: float | msgspec.UnsetType = msgspec.UNSET
    listened_at: Timestamp


class TopicPodcast(msgspec.Struct, frozen=True, kw_only=True):
    """A podcast of a topic that can be heard whole."""

    podcast_id: str
    created_at: Timestamp
    duration_seconds: float | msgspec.UnsetType = msgspec.UNSET


class QueuePlace(msgspec.Struct, frozen=True, kw_only=True):
    """Where a podcast stands among those that wait.

    Arguments:
        position: 1 for the next; 0 for one that does not wait, or not any more.
        of: how many wait.
        estimated_start: when its turn is expected; only where that can be told.
        paused: that operators have paused the queue: nothing begins until they resume it.
    """

    position: int
    of: int
    paused: bool | msgspec.UnsetType = msgspec.UNSET
    estimated_start: Timestamp | msgspec.UnsetType = msgspec.UNSET


class Listings:
    """Lists of podcasts, on the record's tasks.

    Arguments:
        log: says whether an operator has paused the queue; None where the record keeps no such log.
    """

    def __init__(
        self, tasks: TaskRecords, topics: Topics, clock: Clock, opened: Opened, log: ActionLog | None = None
    ) -> None:
        self._tasks = tasks
        self._log = log
        self.opened = opened
        """Until the platform is closed."""
        self._topics = topics
        self._clock = clock
        self._queue: Briefly[tuple[Waiting, bool]] = Briefly(clock, _BRIEF)
        self._of_topics: Briefly[tuple[Listed, ...]] = Briefly(clock, _BRIEF)

    async def podcasts(self, podcast_ids: Sequence[str]) -> tuple[ListedPodcast, ...]:
        """Podcasts in the order asked for; unknown ones are left out."""
        every = await self.listed(podcast_ids)
        names = await self.topic_names(every.values())
        return tuple(_podcast(every[one], names) for one in dict.fromkeys(podcast_ids) if one in every)

    async def of_topic(self, topic_id: str, limit: int) -> tuple[Listed, ...]:
        """The podcasts of a topic that can be heard whole, the latest first; those of a second ago at most."""
        self.opened.check()
        return await self._of_topics.read(f"{limit}:{topic_id}", lambda: self._tasks.ready(topic_id, limit))

    async def place(self, podcast_id: str) -> QueuePlace:
        """Where a podcast stands in the queue, of a second ago at most; the queue is short."""
        self.opened.check()
        waiting, paused = await self._queue.read("queue", self._read_queue)
        ids = waiting.podcast_ids
        position = ids.index(podcast_id) + 1 if podcast_id in ids else 0
        # How long those before it will take nobody knows yet.
        starts = waiting.free_at if position == 1 and waiting.free_at is not None and not paused else msgspec.UNSET
        stands = True if paused and position else msgspec.UNSET
        return QueuePlace(position=position, of=len(ids), estimated_start=starts, paused=stands)

    async def _read_queue(self) -> tuple[Waiting, bool]:
        waiting = await self._tasks.waiting(self._clock.now())
        return waiting, await is_paused(self._log)

    async def history(self, heard: Sequence[HeardPodcast]) -> tuple[HistoryEntry, ...]:
        """What there still is of a history, in its order."""
        every = await self.listed([one.podcast_id for one in heard])
        names = await self.topic_names(every.values())
        return tuple(
            HistoryEntry(
                **_members(every[one.podcast_id], names),
                listened_at=one.listened_at,
                position_seconds=one.position_seconds,
            )
            for one in heard
            if one.podcast_id in every
        )

    async def known(self, podcast_ids: Sequence[str]) -> set[str]:
        """Those of some podcasts that there are."""
        return set(await self.listed(podcast_ids))

    async def topic_names(self, listed: Iterable[Listed]) -> dict[str, str]:
        """The display names of their topics; of one that is gone its id."""
        self.opened.check()
        ids = list(dict.fromkeys(one.task.topic_id for one in listed))
        topics = await self._topics.one.get_many(ids)
        return {id_: id_ if topic is None else topic.display_name for id_, topic in zip(ids, topics, strict=True)}

    async def close(self) -> None:
        """Cancel the reads under way."""
        await self._queue.close()
        await self._of_topics.close()

    async def listed(self, podcast_ids: Sequence[str]) -> dict[str, Listed]:
        """Podcasts by their ids; unknown ones are left out."""
        self.opened.check()
        possible = [one for one in dict.fromkeys(podcast_ids) if is_part(one)]
        every = await self._tasks.listed(possible) if possible else ()
        return {one.task.podcast_id: one for one in every if is_part(one.task.topic_id)}


class Histories:
    """What users have listened to; kept in their own documents, so that it goes with them."""

    def __init__(self, users: UserRecords, listings: Listings, clock: Clock) -> None:
        self._users = users
        self._listings = listings
        self._clock = clock

    async def entries(self, user_id: str) -> tuple[HistoryEntry, ...] | None:
        """A user's history, the latest first; None where there is no such user any more."""
        self._listings.opened.check()
        user = await self._users.user(user_id)
        if user is None:
            return None
        return await self._listings.history(user.history if isinstance(user.history, tuple) else ())

    async def note(self, user_id: str, heard: Sequence[HeardPodcast]) -> bool:
        """Note what was listened to, if it was later than what is noted of the same podcast; False without the user.

        A place that is not told stays as it is known. Podcasts that there are not are left out.

        Raises:
            InvalidInput: naming `position_seconds` or `listened_at`, for a place or a moment that cannot be.
        """
        for one in heard:
            place = one.position_seconds
            if not isinstance(place, msgspec.UnsetType) and not 0 <= place <= LONGEST:
                remedy = f"send seconds from 0 to {LONGEST:.0f}"
                raise InvalidInput("position_seconds", "is outside the recording", remedy)
        told = [given_in_utc("listened_at", one.listened_at) for one in heard]
        known = await self._listings.known([one.podcast_id for one in heard])
        now = self._clock.now()
        # What a device with a wrong clock tells must not stay the latest for ever.
        moments = [msgspec.structs.replace(one, listened_at=min(at, now)) for one, at in zip(heard, told, strict=True)]
        new = [one for one in moments if one.podcast_id in known]
        return await self._users.edit_history(user_id, lambda before: _merged(before, new))

    def now(self) -> datetime:
        """The moment, for what is told without one."""
        return self._clock.now()

    async def forget(self, user_id: str, podcast_id: str) -> bool:
        """Take a podcast out of a user's history; False where there is no such user any more."""
        self._listings.opened.check()
        return await self._users.edit_history(
            user_id, lambda before: tuple(one for one in before if one.podcast_id != podcast_id)
        )


def _merged(before: Sequence[HeardPodcast], new: Iterable[HeardPodcast]) -> tuple[HeardPodcast, ...]:
    """The later of each podcast, the latest first; of two at one moment the new one."""
    merged = {one.podcast_id: one for one in before}
    for one in new:
        known = merged.get(one.podcast_id)
        if known is not None and known.listened_at > one.listened_at:
            continue
        if known is not None and isinstance(one.position_seconds, msgspec.UnsetType):
            one = msgspec.structs.replace(one, position_seconds=known.position_seconds)
        merged[one.podcast_id] = one
    latest = sorted(merged.values(), key=lambda one: one.podcast_id)
    return tuple(sorted(latest, key=lambda one: one.listened_at, reverse=True)[:HISTORY])


def _podcast(listed: Listed, names: dict[str, str]) -> ListedPodcast:
    return ListedPodcast(**_members(listed, names))


def _members(listed: Listed, names: dict[str, str]) -> dict[str, Any]:
    task = listed.task
    return {
        "podcast_id": task.podcast_id,
        "topic_id": task.topic_id,
        "topic_name": names[task.topic_id],
        "created_at": task.created_at,
        "duration_seconds": listed.duration,
        "status": task.status,
    }
