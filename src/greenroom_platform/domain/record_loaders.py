"""What each cached keyspace is loaded by from the record: for the caches, and for who compares them with it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from greenroom.errors import InvalidInput
from greenroom.keyspace import Keyspace
from greenroom_platform import definitions
from greenroom_platform.domain.records import Records
from greenroom_platform.domain.searching import Searchable
from greenroom_platform.domain.task_records import KeepsTasks
from greenroom_platform.models import Found, PodcastStatus, Snippet, Topic

RecordLoaders = dict[Keyspace[Any], Callable[..., Awaitable[Any]]]
"""The loader of each keyspace; it takes the parts of a key by position or by name."""


def record_loaders(records: Records) -> RecordLoaders:
    """The loaders of a record; each gives None where the record has no value."""

    async def load_topics() -> tuple[Topic, ...]:
        return await records.topics()

    async def load_page(topic_id: str, page_number: int) -> tuple[Snippet, ...] | None:
        return await records.page(topic_id, page_number) or None

    async def load_status(podcast_id: str) -> PodcastStatus | None:
        task = await records.tasks.task(podcast_id) if isinstance(records, KeepsTasks) else None
        return None if task is None else task.shown

    return {
        definitions.TOPIC: records.topic,
        definitions.TOPICS: load_topics,
        definitions.SNIPPET: records.snippet,
        definitions.SNIPPET_PAGE: load_page,
        definitions.PODCAST_STATUS: load_status,
    }


def search_loader(records: Records) -> Callable[..., Awaitable[Found]]:
    """The loader of searches."""

    async def load(epoch: str, limit: int, words: str) -> Found:
        if not isinstance(records, Searchable):
            remedy = "give it `search_topics` and `search_snippets`: Searchable"
            raise InvalidInput("database", "the record cannot be searched", remedy)
        wanted = words.split(" ")
        topics = await records.search_topics(wanted, limit)
        return Found(topics=topics, snippets=await records.search_snippets(wanted, limit))

    return load
