"""A record as NDJSON that can be loaded again: topics first, then snippets, each by its id."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import suppress

import msgspec

from greenroom.errors import BrokenDocument
from greenroom_platform.domain.exports import Exports
from greenroom_platform.models import Snippet

CHUNK = 50
"""Objects in memory at a time; each has 1 MiB at most."""


async def exported(records: Exports, *, chunk: int = CHUNK) -> AsyncIterator[bytes]:
    """The lines, some at a time, of whatever size the record is. Ids of topics are kept until the end.

    A topic that is made while the export runs goes before the first snippet of it. Prevents: the topics are exported ·
    a topic and its snippet are made · the snippet is exported, and no load takes its line.

    Raises:
        RecordUnavailable: in the middle; the export is not whole then.
    """
    known: set[str] = set()
    after: str | None = ""
    while after is not None:
        topics = await records.topics_after(after, chunk)
        known.update(one.topic_id for one in topics.objects)
        after = topics.after
        yield _lines(topics.objects)
    after = ""
    while after is not None:
        snippets = await records.snippets_after(after, chunk)
        after = snippets.after
        for topic_id in _unknown(snippets.objects, known):
            known.add(topic_id)
            with suppress(BrokenDocument):  # left out, as from every list
                if (topic := await records.topic(topic_id)) is not None:
                    yield _lines([topic])
        yield _lines(snippets.objects)


def _unknown(snippets: Iterable[Snippet], known: set[str]) -> list[str]:
    return sorted({one.topic_id for one in snippets} - known)


def _lines(objects: Iterable[msgspec.Struct]) -> bytes:
    return msgspec.json.Encoder().encode_lines(list(objects))
