"""What several changes made stale, each thing once however many of them name it."""

from __future__ import annotations

from collections.abc import Iterable

from greenroom_platform.domain.records import Change


class Stale:
    """Changes put together: 500 rows that each name the 10,000 pages of a topic are 10,000 pages."""

    __slots__ = ("change_ids", "pages", "snippets", "statuses", "topics")

    def __init__(self, changes: Iterable[Change] = ()) -> None:
        self.change_ids: set[int] = set()
        self.topics: set[str] = set()
        self.snippets: set[str] = set()
        self.statuses: set[str] = set()
        self.pages: dict[str, int] = {}
        """For each topic the last page to be dropped."""
        for change in changes:
            self.add(change)

    def add(self, change: Change) -> None:
        """Put one more change to the others."""
        self.change_ids.add(change.change_id)
        self.topics.update(change.topics)
        self.snippets.update(change.snippets)
        self.statuses.update(change.statuses)
        for topic_id, last in change.pages:
            self.pages[topic_id] = max(last, self.pages.get(topic_id, 0))

    @property
    def is_content(self) -> bool:
        """Whether topics or snippets are among it."""
        return bool(self.topics or self.snippets or self.pages)
