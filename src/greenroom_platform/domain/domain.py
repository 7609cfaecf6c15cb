"""The domain over a record: the platform's caches, what reads through them, and what its changes drop."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from greenroom.caching import Cache
from greenroom.caching.outbox_drops import OutboxDrops
from greenroom.clock import Clock
from greenroom_platform import definitions
from greenroom_platform.domain.action_log import log_of
from greenroom_platform.domain.changes import Changes
from greenroom_platform.domain.listings import Listings
from greenroom_platform.domain.newest import Newest
from greenroom_platform.domain.outbox_sender import OutboxSender
from greenroom_platform.domain.podcasts import Generation, Tasks
from greenroom_platform.domain.record_caches import RecordCaches
from greenroom_platform.domain.record_loaders import record_loaders, search_loader
from greenroom_platform.domain.records import Records
from greenroom_platform.domain.searching import Search, new_epoch
from greenroom_platform.domain.snippets import Snippets
from greenroom_platform.domain.statuses import Statuses
from greenroom_platform.domain.task_records import KeepsTasks, TaskRecords
from greenroom_platform.domain.topics import Topics


class Domain:
    """Made by `open`."""

    def __init__(
        self,
        records: Records,
        changes: Changes,
        outbox: OutboxSender,
        newest: Newest,
        topics: Topics,
        snippets: Snippets,
        statuses: Statuses,
        search: Search,
        generation: tuple[Generation, Tasks] | None,
        listings: Listings | None,
    ) -> None:
        self.records = records
        self.changes = changes
        self.outbox = outbox
        self.newest = newest
        self.topics = topics
        self.snippets = snippets
        self.statuses = statuses
        self.search = search
        self.generation = generation
        self.listings = listings

    @classmethod
    async def open(
        cls, records: Records, cache: Callable[..., Cache[Any]], pending: OutboxDrops, clock: Clock
    ) -> Domain:
        """Wire the domain on a record.

        Arguments:
            cache: makes a cache of a keyspace, as `Greenroom.cache`.
            pending: of what those caches stand on.
        """
        tasks: TaskRecords | None = records.tasks if isinstance(records, KeepsTasks) else None

        load = record_loaders(records)
        topic = cache(definitions.TOPIC, load=load[definitions.TOPIC])
        topics = cache(definitions.TOPICS, load=load[definitions.TOPICS])
        snippet = cache(definitions.SNIPPET, load=load[definitions.SNIPPET])
        pages = [definitions.SNIPPET_PAGES]
        page = cache(definitions.SNIPPET_PAGE, load=load[definitions.SNIPPET_PAGE], groups=pages)
        status = cache(definitions.PODCAST_STATUS, load=load[definitions.PODCAST_STATUS])
        epoch = cache(definitions.SEARCH_EPOCH, load=partial(new_epoch, clock))
        search = cache(definitions.SEARCH, load=search_loader(records))
        newest = Newest(records, clock)
        log = log_of(records)
        caches = RecordCaches(topic, topics, snippet, page, status, epoch, on_change=newest.forget)
        changes, outbox = Changes(records, caches, clock), OutboxSender(records, caches, pending)
        await outbox.open()
        every = Topics(records, changes, one=topic, every=topics, clock=clock)
        return cls(
            records,
            changes,
            outbox,
            newest,
            every,
            Snippets(records, changes, one=snippet, pages=page, newest=newest, clock=clock),
            Statuses(status),
            Search(epoch, search),
            None
            if tasks is None
            else (Generation(tasks, clock, changes.opened), Tasks(tasks, changes, clock, log=log)),
            None if tasks is None else Listings(tasks, every, clock, changes.opened, log),
        )

    async def close(self) -> None:
        """Stop sending what others left, and let go of whoever follows a status."""
        await self.outbox.close()
        await self.changes.close()
        await self.statuses.close()
        await self.newest.close()
        if self.listings is not None:
            await self.listings.close()
