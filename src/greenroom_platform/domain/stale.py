"""What several changes made stale, each thing once however many of them name it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from greenroom.keyspace import Keyspace
from greenroom_platform.definitions import PODCAST_STATUS, SNIPPET, SNIPPET_PAGE, TOPIC, TOPICS
from greenroom_platform.domain.records import Change


class Stale:
    """Changes put together: 500 rows that each name the 10,000 pages of a topic are 10,000 pages."""

    __slots__ = ("_page_count", "change_ids", "pages", "snippets", "statuses", "topics", "whole")

    def __init__(self, changes: Iterable[Change] = ()) -> None:
        self.change_ids: set[int] = set()
        self.topics: set[str] = set()
        self.snippets: set[str] = set()
        self.statuses: set[str] = set()
        self.pages: dict[str, int] = {}
        """For each topic the last page to be dropped."""
        self._page_count = 0
        self.whole: set[Keyspace[Any]] = set()
        """Keyspaces of which too many keys are stale to be named."""
        for change in changes:
            self.add(change)

    def add(self, change: Change) -> None:
        """Put one more change to the others."""
        self.change_ids.add(change.change_id)
        self.topics.update(change.topics)
        self.snippets.update(change.snippets)
        self.statuses.update(change.statuses)
        for topic_id, last in change.pages:
            known = self.pages.get(topic_id, 0)
            self.pages[topic_id] = max(last, known)
            self._page_count += max(0, last - known)

    def bound(self, max_keys: int) -> None:
        """Name no more than so many keys of each keyspace: of more the whole is stale, and none is named."""
        counted = (
            (len(self.topics), self.topics, (TOPIC, TOPICS)),
            (len(self.snippets), self.snippets, (SNIPPET,)),
            (len(self.statuses), self.statuses, (PODCAST_STATUS,)),
            (self._page_count, self.pages, (SNIPPET_PAGE,)),
        )
        for count, named, keyspaces in counted:
            if count > max_keys or keyspaces[0] in self.whole:
                self.whole.update(keyspaces)
                named.clear()
        if not self.pages:
            self._page_count = 0

    @property
    def is_content(self) -> bool:
        """Whether topics or snippets are among it."""
        return bool(self.topics or self.snippets or self.pages or self.whole - {PODCAST_STATUS})
