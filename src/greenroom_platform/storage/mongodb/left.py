"""How many snippets have left each topic in events that are read after they were made, some at a time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from bson import Timestamp


class Left:
    """Snippets that have left their topics since the stream last caught up with a count.

    A topic's pages are dropped up to its count now and what has left it. Prevents: 1,500 snippets are deleted · 500
    events are read, and the count is 0 already · pages up to the 26th are dropped, and so for the next two · the 27th
    to the 75th stay. Once the stream is past the moment of the last count, nothing is owed: whatever had left by then
    was added before. It is stored with the place, so that a successor in the middle of it goes on.
    """

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.counted: Timestamp | None = None
        """When the snippets that are there were counted last."""

    @classmethod
    def stored(cls, place: Mapping[str, Any]) -> Left:
        """What a stored place has of it; nothing, where that is another program's."""
        left, found = cls(), place.get("left")
        if isinstance(found, Mapping) and isinstance(found.get("counted"), Timestamp):
            left.counted = found["counted"]
            topics, counts = found.get("topics"), found.get("counts")
            if isinstance(topics, list) and isinstance(counts, list):
                both = zip(topics, counts, strict=False)
                left.counts.update({one: n for one, n in both if isinstance(one, str) and isinstance(n, int)})
        return left

    @property
    def total(self) -> int:
        """Of all topics."""
        return self.counts.total()

    def add(self, gone: Mapping[str, int], first: Timestamp) -> None:
        """Add those of further events, the first of which was made at that moment."""
        if self.counted is not None and first > self.counted:
            self.counts.clear()
        self.counts.update(gone)

    def forget(self) -> None:
        """All pages are dropped whole."""
        self.counts.clear()

    def to_store(self) -> dict[str, Any]:
        """For the place. The ids are no names of members: they may have dots in them."""
        return {"counted": self.counted, "topics": list(self.counts), "counts": list(self.counts.values())}
