"""NDJSON into the record: each line checked on its own, the good ones stored, the bad ones reported.

Lines may come in any order. A snippet whose topic is not known yet waits in a temporary file until all lines are read;
standard input cannot be read twice, and files that name topics first, as ours do, never make one wait. Of several lines
with one id the last counts. Times may be left out: they are made as an editor's PUT makes them.

What is in memory is bounded, however long the input: the lines of one transaction, and some known ids of topics.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import IO

from greenroom.errors import BrokenDocument, InvalidInput, UnknownReference
from greenroom_platform.domain.records import Records
from greenroom_platform.storage.ndjson_lines import SnippetLine, TopicLine, check_form, numbered_lines, parsed
from greenroom_platform.storage.waiting_lines import WaitingLines

BATCH = 1000
"""Lines read for one transaction."""
KNOWN = 100_000
"""Ids of topics that are remembered; the record is asked for others."""


@dataclass(frozen=True, slots=True)
class BadLine:
    """A line that was not stored: where it stands (lines count from 1), and what to do about it."""

    source: str
    number: int
    field: str
    reason: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.source}:{self.number}: {self.field}: {self.reason}; {self.remedy}"


@dataclass(slots=True)
class LoadSummary:
    """What a load did: how many objects were read well, lines read badly, and changes made."""

    lines: int = 0
    read: int = 0
    """Bytes of them."""
    topics: int = 0
    snippets: int = 0
    bad: int = 0
    changes: int = 0


@dataclass(frozen=True, slots=True)
class _Line:
    source: str
    number: int
    value: TopicLine | SnippetLine
    text: bytes

    def bad(self, error: InvalidInput) -> BadLine:
        return BadLine(self.source, self.number, error.field, error.reason, error.remedy)


async def load(
    records: Records,
    sources: Iterable[tuple[str, IO[bytes]]],
    *,
    on_progress: Callable[[LoadSummary], None] = lambda _: None,
    on_bad: Callable[[BadLine], None] = lambda _: None,
    now: datetime | None = None,
    batch: int = BATCH,
    dry_run: bool = False,
) -> LoadSummary:
    """Load every source; loading the same again changes nothing.

    Arguments:
        sources: names, for the report, and files opened for reading bytes.
        on_progress: called after each transaction.
        on_bad: called with each bad line when it is found. A snippet whose topic is nowhere is found at the end.
            Of a file that is JSON over several lines only the first is told of, and nothing is read.
        now: the time of what has none, the same for all lines; None takes this machine's.
        batch: lines read for one transaction: nothing else of the event loop runs while they are.
        dry_run: store nothing, and find the bad lines. Documents of other programs that do not fit are found by a load
            alone. All ids of topics in the input are remembered.

    Raises:
        RecordUnavailable: when the record fails; what was stored until then stays.
    """
    loading = _Load(records, on_progress, on_bad, now or datetime.now(UTC), batch, dry_run=dry_run)
    try:
        return await loading.run(sources)
    finally:
        loading.close()


class _Load:
    def __init__(
        self,
        records: Records,
        on_progress: Callable[[LoadSummary], None],
        on_bad: Callable[[BadLine], None],
        now: datetime,
        batch: int,
        *,
        dry_run: bool,
    ) -> None:
        self._records = records
        self._on_progress = on_progress
        self._on_bad = on_bad
        self._loaded = LoadSummary()
        self._now = now
        self._batch = batch
        self._dry_run = dry_run
        self._known: set[str] = set()  # topics stored or found in the record
        self._waiting = WaitingLines()  # snippets whose topic is not known yet

    async def run(self, sources: Iterable[tuple[str, IO[bytes]]]) -> LoadSummary:
        lines = (line for name, file in sources for line in self._read(name, file))
        while batch := list(islice(lines, self._batch)):
            await self._store([line for line in batch if line is not None])
        for _ in range(0, len(self._waiting), self._batch):
            waiting = self._waiting.take(self._batch)
            await self._store([_Line(source, number, parsed(text), text) for source, number, text in waiting])
        for source, number, text in self._waiting.in_order():
            orphan = _Line(source, number, parsed(text), text)
            reason = f"{orphan.value.topic_id!r} is neither in the record nor in the input"
            error = InvalidInput("topic_id", reason, "add the topic's line, or correct the id")
            self._bad(orphan.bad(error))
        return self._loaded

    def close(self) -> None:
        self._waiting.close()

    def _read(self, name: str, file: IO[bytes]) -> Iterator[_Line | None]:
        """The good lines; None for each bad one, which is told."""
        first = True
        for number, text in numbered_lines(file):
            self._loaded.lines += 1
            self._loaded.read += len(text)
            try:
                if first:
                    check_form(text)
                first = False
                yield _Line(name, number, parsed(text), text)
            except InvalidInput as error:
                self._bad(BadLine(name, number, error.field, error.reason, error.remedy))
                if first:
                    return
                yield None

    def _bad(self, bad: BadLine) -> None:
        self._loaded.bad += 1
        self._on_bad(bad)

    async def _store(self, batch: list[_Line]) -> None:
        topics = {line.value.topic_id: line.value for line in batch if isinstance(line.value, TopicLine)}
        ready: dict[str, SnippetLine] = {}
        waiting: dict[str, list[_Line]] = {}
        for line in batch:
            if not isinstance(line.value, SnippetLine):
                continue
            snippet = line.value
            if snippet.topic_id in topics or await self._is_known(snippet.topic_id):
                ready[snippet.snippet_id] = snippet
                waiting.pop(snippet.snippet_id, None)
            else:
                waiting.setdefault(snippet.snippet_id, []).append(line)
        try:
            change = None
            if not self._dry_run:
                change = await self._records.store(list(topics.values()), list(ready.values()), self._now)
        except UnknownReference:  # an editor deleted a topic that we knew
            self._known.clear()
            await self._store(batch)
            return
        except BrokenDocument as error:
            await self._store(self._fitting(batch, error))
            return
        # A line that is stored replaces earlier ones with its id; one that waits may turn out bad, and replaces none.
        self._waiting.forget(ready)
        late = (line for lines in waiting.values() for line in lines)
        self._waiting.add((_id(line), (line.source, line.number, line.text)) for line in late)
        if change is not None:
            self._loaded.changes += 1
        self._know(topics)
        self._loaded.topics += len(topics)
        self._loaded.snippets += len(ready)
        self._on_progress(self._loaded)

    def _fitting(self, batch: list[_Line], error: BrokenDocument) -> list[_Line]:
        """The lines whose stored documents fit; those of the others are bad."""
        broken = {(one.kind, one.id): one for one in (error, *error.others)}
        fitting = [line for line in batch if self._fits(line, broken.get(_named(line)), _field(line))]
        if len(fitting) == len(batch):
            # Snippets can be in a topic that does not fit, and in none that cannot be relied on.
            fitting = [line for line in batch if self._fits(line, broken.get(_topic_of(line)), "topic_id")]
        if len(fitting) == len(batch):  # it is none of ours
            raise error
        return fitting

    def _fits(self, line: _Line, unfit: BrokenDocument | None, field: str) -> bool:
        if unfit is not None:
            remedy = "correct or delete it in the database"
            self._bad(BadLine(line.source, line.number, field, str(unfit), remedy))
        return unfit is None

    async def _is_known(self, topic_id: str) -> bool:
        if topic_id not in self._known:
            # One that does not fit is there all the same.
            with suppress(BrokenDocument):
                if await self._records.topic(topic_id) is None:
                    return False
            self._know([topic_id])
        return True

    def _know(self, topics: Iterable[str]) -> None:
        # In a dry run the record does not know those of the input.
        if len(self._known) > KNOWN and not self._dry_run:
            self._known.clear()
        self._known.update(topics)


def _field(line: _Line) -> str:
    return "snippet_id" if isinstance(line.value, SnippetLine) else "topic_id"


def _named(line: _Line) -> tuple[str, str]:
    """The kind and the id of what a line would replace, as errors have them."""
    return ("snippet", repr(_id(line))) if isinstance(line.value, SnippetLine) else _topic_of(line)


def _topic_of(line: _Line) -> tuple[str, str]:
    return "topic", repr(line.value.topic_id)


def _id(line: _Line) -> str:
    assert isinstance(line.value, SnippetLine)
    return line.value.snippet_id
