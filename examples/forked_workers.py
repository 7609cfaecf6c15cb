"""Forked processes, as of gunicorn --preload or Celery: one room, made before the fork, opened in each. Run it."""

import asyncio
import multiprocessing
import os
import tempfile
from datetime import timedelta
from pathlib import Path

from greenroom import Greenroom, Keyspace
from greenroom.errors import RoomElsewhere

processes = multiprocessing.get_context("fork")
loads = processes.Value("i")  # counted over all processes

PRODUCT = Keyspace("shop:product:{sku}", str, parts={"sku": int}, ttl=timedelta(minutes=30))
# Without an address, workers that name one directory share the Valkey there: else each would have one of its own.
room = Greenroom(os.environ.get("VALKEY_URL"), data_dir=Path(tempfile.mkdtemp()), sessions=False)


@room.cached(PRODUCT)
async def product(sku: int) -> str:
    with loads.get_lock():
        loads.value += 1
    await asyncio.sleep(0.1)  # a slow database
    return f"Chair {sku}"


async def work() -> str:
    async with room:  # after the fork: connections belong to one process, and to one event loop
        found = await asyncio.gather(*(product(1) for _ in range(50)))
    return f"{len(found)} reads of {found[0]}"


def worker(number: int) -> str:
    return asyncio.run(work())


async def too_late() -> None:
    try:
        await product(1)
    except RoomElsewhere as error:  # at once, and not after a time-out
        print(str(error).partition(", ")[2])


async def fork_while_open() -> None:
    async with room:
        child = processes.Process(target=lambda: asyncio.run(too_late()))
        child.start()
        await asyncio.to_thread(child.join)


if __name__ == "__main__":
    with processes.Pool(4) as workers:
        print(*workers.map(worker, range(4), chunksize=1), sep="\n")
    print("loads:", loads.value)
    asyncio.run(fork_while_open())
