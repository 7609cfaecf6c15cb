"""Loads of 20,000 lines: how fast either record takes them, and how little is in memory meanwhile."""

from __future__ import annotations

import io
import json
import tracemalloc
from collections.abc import Callable, Iterator
from time import monotonic

from greenroom_platform.cli.load import bar
from greenroom_platform.storage import load, open_records

LINES = 20_000
TOPICS = 50
TEXT = "Voices after midnight, and what they said. " * 12


def topics() -> Iterator[bytes]:
    for number in range(TOPICS):
        topic = {"topic_id": f"t{number}", "display_name": f"T{number}", "description": "", "keywords": []}
        yield json.dumps(topic).encode() + b"\n"


def snippets() -> Iterator[bytes]:
    for number in range(LINES):
        snippet = {"snippet_id": f"s{number}", "topic_id": f"t{number % TOPICS}", "title": "S", "text_content": TEXT}
        yield json.dumps(snippet).encode() + b"\n"


async def test_twenty_thousand_lines_are_loaded_into_either_record(
    record_url: str, record_property: Callable[[str, object], None]
) -> None:
    records = await open_records(record_url)
    source = io.BytesIO(b"".join([*topics(), *snippets()]))
    began = monotonic()
    loaded = await load(records, [("lines", source)])
    rate = (LINES + TOPICS) / (monotonic() - began)
    assert (loaded.topics, loaded.snippets, loaded.bad) == (TOPICS, LINES, 0)
    assert loaded.read == source.tell()
    page = await records.page("t7", 20)
    assert len(page) == 20
    assert await records.page("t7", LINES // TOPICS // 20 + 1) == ()
    record_property("figure", f"load of 20,050 rows into {record_url.partition(':')[0]}: {rate:,.0f} rows a second")
    await records.close()


async def test_lines_that_all_wait_for_their_topics_are_not_in_memory(tmp_path: object) -> None:
    class Endless(io.RawIOBase):
        """The lines, made as they are read: what is in memory is the load's own."""

        def __init__(self) -> None:
            self._lines = (line for some in (snippets(), topics()) for line in some)

        def readline(self, size: int | None = -1, /) -> bytes:
            return next(self._lines, b"")

    records = await open_records(f"sqlite:{tmp_path}/record.sqlite3")
    tracemalloc.start()
    try:
        loaded = await load(records, [("lines", Endless())])  # type: ignore[list-item]
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (loaded.topics, loaded.snippets, loaded.bad) == (TOPICS, LINES, 0)
    assert peak < 8_000_000, "12 MB of lines waited"
    await records.close()


def test_the_bar_says_how_much_of_the_input_is_read() -> None:
    assert bar(0, 200) == "[" + 30 * "." + "]   0%  "
    assert bar(100, 200) == "[" + 15 * "#" + 15 * "." + "]  50%  "
    assert bar(999, 200) == "[" + 30 * "#" + "] 100%  "  # it grows while it is read
    assert bar(5, None) == bar(0, 0) == ""
