"""Loads of thousands of lines: how fast either record takes them, and how little is in memory meanwhile."""

from __future__ import annotations

import io
import json
import tracemalloc
from collections.abc import Callable, Iterator
from itertools import islice
from time import monotonic

from greenroom_platform.cli.load import bar
from greenroom_platform.storage import load, open_records

LINES = 20_000
TOPICS = 50
WAITING = 5_000
TEXT = "Voices after midnight, and what they said. " * 12


def topics() -> Iterator[bytes]:
    for number in range(TOPICS):
        topic = {"topic_id": f"t{number}", "display_name": f"T{number}", "description": "", "keywords": []}
        yield json.dumps(topic).encode() + b"\n"


def snippets() -> Iterator[bytes]:
    for number in range(LINES):
        snippet = {"snippet_id": f"s{number}", "topic_id": f"t{number % TOPICS}", "title": "S", "text_content": TEXT}
        yield json.dumps(snippet).encode() + b"\n"


async def test_thousands_of_lines_are_loaded_into_either_record(
    record_url: str, record_property: Callable[[str, object], None]
) -> None:
    kind = record_url.partition(":")[0]
    lines = LINES if kind == "sqlite" else LINES // 20  # SecantusDB is written in Python
    records = await open_records(record_url)
    source = io.BytesIO(b"".join([*topics(), *islice(snippets(), lines)]))
    began = monotonic()
    loaded = await load(records, [("lines", source)])
    rate = (lines + TOPICS) / (monotonic() - began)
    assert (loaded.topics, loaded.snippets, loaded.bad) == (TOPICS, lines, 0)
    assert loaded.read == source.tell()
    assert len(await records.page("t7", lines // TOPICS // 20)) == 20
    assert await records.page("t7", lines // TOPICS // 20 + 1) == ()
    record_property("figure", f"load of {lines + TOPICS:,} rows into {kind}: {rate:,.0f} rows a second")
    await records.close()


async def test_lines_that_all_wait_for_their_topics_are_not_in_memory(tmp_path: object) -> None:
    class Endless(io.RawIOBase):
        """The lines, made as they are read: what is in memory is the load's own."""

        def __init__(self) -> None:
            self._lines = (line for some in (islice(snippets(), WAITING), topics()) for line in some)

        def readline(self, size: int | None = -1, /) -> bytes:
            return next(self._lines, b"")

    records = await open_records(f"sqlite:{tmp_path}/record.sqlite3")
    tracemalloc.start()
    try:
        loaded = await load(records, [("lines", Endless())])  # type: ignore[list-item]
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (loaded.topics, loaded.snippets, loaded.bad) == (TOPICS, WAITING, 0)
    assert peak < 4_500_000, f"{peak:,} bytes: 3 MB for any number, and now 3 MB of lines have waited"
    await records.close()


def test_the_bar_says_how_much_of_the_input_is_read() -> None:
    assert bar(0, 200) == "[" + 30 * "." + "]   0%  "
    assert bar(100, 200) == "[" + 15 * "#" + 15 * "." + "]  50%  "
    assert bar(999, 200) == "[" + 30 * "#" + "] 100%  "  # it grows while it is read
    assert bar(5, None) == bar(0, 0) == ""
