"""Reads from threads: the synchronous face, near and far, beside redis-py by hand.

Each contender runs in a process of its own (`python -m bench.threads NAME PORT THREADS`) and prints its cost as JSON.
"""

from __future__ import annotations

import gc
import logging
import statistics
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta

import msgspec

from bench.common import KEYS
from greenroom.sync import Greenroom
from greenroom_platform.definitions import TOPIC as KEYSPACE
from greenroom_platform.models import Topic

Read = Callable[[str], object]

ROUNDS = 5
OPERATIONS = 9_600
"""Reads of a round, by all threads together."""
NEAR_PASSES = 20
"""A near hit is so short that a round makes more of them."""


class ThreadCost(msgspec.Struct):
    """What one read took, in microseconds: CPU time of the process, time on the clock, and two percentiles of it."""

    cpu: float
    wall: float
    p50: float
    p99: float


def unloaded(_: str) -> None:
    """A loader that is never called."""
    raise AssertionError("every read of this benchmark is a hit")


@contextmanager
def far(port: int) -> Iterator[Read]:
    """A cache with its near cache off: each read goes through the portal to the server."""
    with Greenroom(f"valkey://127.0.0.1:{port}", sessions=False) as room:
        yield room.cache(KEYSPACE, load=unloaded, near_for=timedelta(0)).get


@contextmanager
def near(port: int) -> Iterator[Read]:
    """A cache whose every read is a near hit."""
    with Greenroom(f"valkey://127.0.0.1:{port}", sessions=False) as room:
        cache = room.cache(KEYSPACE, load=unloaded, near_for=timedelta(hours=1))
        cache.get_many([f"t{number}" for number in range(KEYS)])
        yield cache.get


@contextmanager
def redis_py(port: int) -> Iterator[Read]:
    """redis-py and msgspec by hand, one client for all threads."""
    from redis import Redis

    client = Redis(port=port)
    decode = msgspec.json.Decoder(Topic).decode

    def read(topic_id: str) -> Topic:
        body = client.get("cache:topic:" + topic_id)
        assert isinstance(body, bytes)
        return decode(body)

    yield read
    client.close()


CONTENDERS = {"near": near, "far": far, "redis-py": redis_py}


def cost(read: Read, threads: int, passes: int) -> ThreadCost:
    """The median cost of a read over some rounds of so many threads."""
    ids = [f"t{number % KEYS}" for number in range(OPERATIONS)]
    share, rounds = OPERATIONS // threads, list[ThreadCost]()
    for number in range(ROUNDS + 1):
        gc.collect()
        times: list[list[float]] = [[] for _ in range(threads)]
        ready = threading.Barrier(threads + 1)

        def reader(position: int, ready: threading.Barrier, note: Callable[[float], None]) -> None:
            mine, clock = ids[position * share : (position + 1) * share], time.perf_counter
            ready.wait()
            if passes > 1:
                for _ in range(passes):
                    for topic_id in mine:
                        read(topic_id)
                return
            for topic_id in mine:
                began = clock()
                read(topic_id)
                note(clock() - began)

        workers = [
            threading.Thread(target=reader, args=(position, ready, times[position].append))
            for position in range(threads)
        ]
        for worker in workers:
            worker.start()
        began = time.process_time(), time.perf_counter()
        ready.wait()
        for worker in workers:
            worker.join()
        cpu, wall = time.process_time() - began[0], time.perf_counter() - began[1]
        if number:  # the first round warms up
            reads = share * threads * passes
            each = sorted(one for mine in times for one in mine) or [wall / reads * threads]
            p50, p99 = (each[min(len(each) - 1, int(len(each) * part))] * 1e6 for part in (0.5, 0.99))
            rounds.append(ThreadCost(cpu / reads * 1e6, wall / reads * 1e6, p50, p99))
    return ThreadCost(
        *(statistics.median(getattr(one, name) for one in rounds) for name in ThreadCost.__struct_fields__)
    )


def main(name: str, port: str, threads: str) -> None:
    """Measure one contender and print its cost."""
    logging.disable(logging.WARNING)
    with CONTENDERS[name](int(port)) as read:
        found = cost(read, int(threads), NEAR_PASSES if name == "near" else 1)
    sys.stdout.write(msgspec.json.encode(found).decode())


if __name__ == "__main__":
    main(*sys.argv[1:])
