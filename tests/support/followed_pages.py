"""The pages of a topic, one after the other."""

from __future__ import annotations

from greenroom_platform.definitions import PAGE_SIZE
from greenroom_platform.domain.records import Records
from greenroom_platform.testing.records_changes import ids


async def ids_by_pages(records: Records, topic_id: str = "a") -> set[str]:
    """The snippets of all pages up to the first that is not full, as who follows `Link` sees them."""
    seen: set[str] = set()
    number, length = 0, PAGE_SIZE
    while length == PAGE_SIZE:
        number += 1
        page = ids(await records.page(topic_id, number))
        assert len(set(page)) == len(page)
        seen |= set(page)
        length = len(page)
    return seen
