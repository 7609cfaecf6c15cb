"""The first steps of a new user, with only the set-up: read through a cache, and serve one request."""

from __future__ import annotations

import asyncio
import http.client
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
from datetime import timedelta
from pathlib import Path

import msgspec

from greenroom import Greenroom, Keyspace

PATIENCE = 60
"""Seconds for the whole service, from start to end. Then it is killed and the smoke test fails."""
PATH = "/api/v1/snippets?topic_id=tech_ai_ethics"


class Episode(msgspec.Struct, frozen=True):
    """A value of a cache."""

    title: str


EPISODE = Keyspace("cache:smoke:{episode_id}", Episode, ttl=timedelta(minutes=1))


async def read_through() -> None:
    """Two reads of one key from an embedded server load it once."""
    loads: list[str] = []

    async def load(episode_id: str) -> Episode:
        loads.append(episode_id)
        return Episode(f"Episode {episode_id}")

    async with Greenroom() as room:
        cache = room.cache(EPISODE, load=load, near_for=timedelta(0))
        assert [await cache.get("e1"), await cache.get("e1")] == [Episode("Episode e1")] * 2
        assert loads == ["e1"]


def serve() -> None:
    """`greenroom serve` says where it listens, answers there, and ends well when it is interrupted."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GREENROOM_")}
    with tempfile.TemporaryDirectory(prefix="greenroom-smoke-") as directory:
        environment |= {"GREENROOM_PORT": "0", "GREENROOM_DATA_DIR": directory, "GREENROOM_LOG_LEVEL": "warning"}
        environment["PYTHONUNBUFFERED"] = "1"
        program = [Path(sys.executable).with_name("greenroom"), "serve"]
        with subprocess.Popen(program, env=environment, stdout=subprocess.PIPE, text=True) as service:
            guard = threading.Timer(PATIENCE, service.kill)
            guard.start()
            try:
                assert service.stdout is not None
                address = next(filter(None, (re.search(r"http://(\S+:\d+)", line) for line in service.stdout)), None)
                assert address, "the service has ended without a word of where it listens"
                connection = http.client.HTTPConnection(address[1], timeout=PATIENCE)
                connection.request("GET", PATH)
                answer = connection.getresponse()
                assert answer.status == 200, f"{PATH} is answered {answer.status}: {answer.read()[:500]!r}"
                assert msgspec.json.decode(answer.read())
                connection.close()
                service.send_signal(signal.SIGINT)
                assert service.wait(PATIENCE) == 0, f"the service ended with status {service.returncode}"
            finally:
                guard.cancel()
                service.kill()


if __name__ == "__main__":
    asyncio.run(read_through())
    serve()
