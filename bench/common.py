"""What every benchmark shares: a server of its own, values of one size, and CPU time per operation."""

from __future__ import annotations

import asyncio
import gc
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from greenroom_platform.models import Topic
from tests.support.real_servers import Server, valkey_binary

READERS = 64
KEYS = 9_600
OPERATIONS = 4 * KEYS
ROUNDS = 5

TOPIC = Topic(
    topic_id="tech_ai_ethics",
    display_name="AI Ethics",
    description="Who answers for what machines decide? " * 20,
    keywords=("ethics", "fairness", "privacy", "law", "datasets", "audit"),
    created_at=datetime(2025, 9, 1, 8, tzinfo=UTC),
    updated_at=datetime(2026, 1, 1, 8, tzinfo=UTC),
)
BODY = msgspec.json.encode(TOPIC)
"""About 1 KB of JSON."""


@contextmanager
def server() -> Iterator[Server]:
    """A Valkey of its own, with the keys of the reading benchmarks."""
    with tempfile.TemporaryDirectory(prefix="greenroom-bench-") as directory:
        one = Server(valkey_binary(), Path(directory))
        one.start()
        raw = one.raw()
        for number in range(KEYS):
            raw("SET", f"cache:topic:t{number}", BODY, "EX", 3600)
        raw.close()
        yield one
        one.kill()


class Cost(msgspec.Struct):
    """What one operation took: CPU time of this process and time on the clock, in microseconds."""

    cpu: float
    wall: float


async def cost(read: Callable[[str], Awaitable[object]], *, before: Callable[[], None] | None = None) -> Cost:
    """The median cost of a read over some rounds of many concurrent readers.

    Arguments:
        read: given the id of a topic.
        before: called before each pass over the keys.
    """

    async def each(ids: list[str]) -> None:
        for one in ids:
            await read(one)

    return await cost_together(each, before=before)


async def cost_together(
    read: Callable[[list[str]], Awaitable[object]], *, before: Callable[[], None] | None = None
) -> Cost:
    """As `cost`, of what reads all keys of a reader at once."""
    ids = [f"t{number}" for number in range(KEYS)]

    share = KEYS // READERS
    rounds: list[Cost] = []
    for number in range(ROUNDS + 1):
        gc.collect()
        cpu = wall = 0.0
        for _ in range(OPERATIONS // KEYS):
            if before is not None:
                before()
            began = time.process_time(), time.perf_counter()
            await asyncio.gather(*(read(ids[start : start + share]) for start in range(0, KEYS, share)))
            cpu += time.process_time() - began[0]
            wall += time.perf_counter() - began[1]
        if number:  # the first round warms up
            rounds.append(Cost(cpu / OPERATIONS * 1e6, wall / OPERATIONS * 1e6))
    return Cost(statistics.median(one.cpu for one in rounds), statistics.median(one.wall for one in rounds))
