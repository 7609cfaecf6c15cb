"""A record as NDJSON that can be loaded again: topics first, then snippets, each by its id."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import suppress

import msgspec

from greenroom.errors import BrokenDocument, InvalidInput
from greenroom_platform.domain.exports import Exports
from greenroom_platform.models import Snippet, Topic
from greenroom_platform.storage.broken import BrokenDocuments, KnowsBroken, broken_document
from greenroom_platform.storage.ndjson_lines import parsed

CHUNK = 50
"""Objects in memory at a time; each has 1 MiB at most."""


async def exported(records: Exports, *, chunk: int = CHUNK) -> AsyncIterator[bytes]:
    """The lines, some at a time, of whatever size the record is. Ids of topics are kept until the end.

    What no load would take is left out, counted and told as a broken document is: another program has stored a title
    that is empty, say, or an id with a space.

    A topic that is made while the export runs goes before the first snippet of it. Prevents: the topics are exported ·
    a topic and its snippet are made · the snippet is exported, and no load takes its line.

    Raises:
        RecordUnavailable: in the middle; the export is not whole then.
    """
    taken = _Taken(records.broken if isinstance(records, KnowsBroken) else BrokenDocuments())
    known: set[str] = set()
    after: str | None = ""
    while after is not None:
        topics = await records.topics_after(after, chunk)
        known.update(one.topic_id for one in topics.objects)
        after = topics.after
        yield taken.lines(topics.objects)
    after = ""
    while after is not None:
        snippets = await records.snippets_after(after, chunk)
        after = snippets.after
        for topic_id in _unknown(snippets.objects, known):
            known.add(topic_id)
            with suppress(BrokenDocument):  # left out, as from every list
                if (topic := await records.topic(topic_id)) is not None:
                    yield taken.lines([topic])
        yield taken.lines(snippets.objects)


def _unknown(snippets: Iterable[Snippet], known: set[str]) -> list[str]:
    return sorted({one.topic_id for one in snippets} - known)


class _Taken:
    """Makes lines of the objects whose lines a load takes."""

    def __init__(self, broken: BrokenDocuments) -> None:
        self._broken = broken
        self._encode = msgspec.json.Encoder().encode

    def lines(self, objects: Iterable[Topic | Snippet]) -> bytes:
        """The lines of some objects; those that are left out are told."""
        return b"".join([line + b"\n" for one in objects if (line := self._line(one)) is not None])

    def _line(self, one: Topic | Snippet) -> bytes | None:
        line = self._encode(one)
        try:
            parsed(line)
        except InvalidInput as error:
            id_ = one.snippet_id if isinstance(one, Snippet) else one.topic_id
            reason = f"no load takes it, {error.field}: {error.reason}"
            self._broken.add(broken_document(type(one), repr(id_), reason))
            return None
        return line
