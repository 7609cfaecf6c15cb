"""The caches of the record's documents, and which of their keys a change made stale."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from typing import Any

from greenroom.caching import Cache
from greenroom.caching.drops import BATCH
from greenroom.caching.keyspace_drops import KeyspaceDrop
from greenroom.errors import InvalidInput
from greenroom_platform.domain.stale import Stale
from greenroom_platform.models import PodcastStatus, Snippet, Topic


@dataclass(frozen=True, slots=True)
class RecordCaches:
    """One cache for each kind of document, one for the pages of a topic, and one for the epoch of searches.

    Arguments:
        on_change: called at each change to topics or snippets made in this process, before anything is dropped.
    """

    topic: Cache[Topic]
    topics: Cache[tuple[Topic, ...]]
    snippet: Cache[Snippet]
    page: Cache[tuple[Snippet, ...]]
    status: Cache[PodcastStatus]
    epoch: Cache[str]
    on_change: Callable[[], None]

    def begin_drop(self, pattern: str) -> KeyspaceDrop:
        """Begin to drop all values of the cache whose keys have this pattern."""
        caches: tuple[Cache[Any], ...] = (self.topic, self.topics, self.snippet, self.page, self.status)
        caches += (self.epoch,)
        return {cache.keyspace.pattern.text: cache for cache in caches}[pattern].begin_drop()

    async def drop(self, stale: Stale) -> None:
        """Drop what is stale: new here from the call on.

        By group, and by number too: pages that other services wrote are in no group, and a group can be lost.
        """
        drops: list[Awaitable[None]] = [self.topic.invalidate(one) for one in stale.topics]
        if stale.topics:
            drops.append(self.topics.invalidate())
        if stale.is_content:
            drops.append(self.epoch.invalidate())
        drops.extend(self.snippet.invalidate(one) for one in stale.snippets)
        drops.extend(self.status.invalidate(one) for one in stale.statuses)
        drops.extend(self.page.invalidate_group(topic_id=topic_id) for topic_id in stale.pages)
        drops.extend(
            self.page.invalidate_numbered("page_number", range(1, last + 1), topic_id=topic_id)
            for topic_id, last in stale.pages.items()
        )
        for result in await asyncio.gather(*drops, return_exceptions=True):
            # An id that no key can hold has no key to drop, and its row must not hold up the others for ever.
            if isinstance(result, BaseException) and not isinstance(result, InvalidInput):
                raise result

    def keys(self, stale: Stale) -> Iterator[Collection[str]]:
        """The keys of what is stale, some at a time."""
        named: tuple[tuple[Cache[Any], Iterator[dict[str, object]]], ...] = (
            (self.topic, ({"topic_id": one} for one in stale.topics)),
            (self.topics, ({} for _ in range(bool(stale.topics)))),
            (self.epoch, ({} for _ in range(stale.is_content))),
            (self.snippet, ({"snippet_id": one} for one in stale.snippets)),
            (self.status, ({"podcast_id": one} for one in stale.statuses)),
        )
        for cache, every in named:
            while some := tuple(islice(every, BATCH)):
                yield [key for parts in some if (key := _key(cache, parts)) is not None]
        for topic_id, last in stale.pages.items():
            with suppress(InvalidInput):
                yield self.page.keyspace.pattern.numbered("page_number", range(1, last + 1), topic_id=topic_id)


def _key(cache: Cache[Any], parts: Mapping[str, object]) -> str | None:
    """An id that no key can hold has no key to drop, and its row must not hold up the others for ever."""
    try:
        return cache.keyspace.key(**parts)
    except InvalidInput:
        return None
