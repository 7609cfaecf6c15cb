"""What the tests of recordings share: made-up ones, and who listens to them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from greenroom_platform.studio.recordings import Recording, Recordings
from tests.support.studio_samples import a_cluster, parse

Open = Callable[..., Recordings]


@asynccontextmanager
async def opening(directory: Path) -> AsyncIterator[Open]:
    """Opens the directory as one process does, and closes it afterwards."""
    every: list[Recordings] = []

    def open_(**options: Any) -> Recordings:
        every.append(Recordings(directory, **options))
        return every[-1]

    yield open_
    for one in every:
        await one.close()


async def write(recording: Recording, *numbers: int, mark: bytes = b"") -> None:
    for number in numbers:
        await recording.append(a_cluster(number, mark))


async def made(recordings: Recordings, podcast_id: str = "p", clusters: int = 3, mark: bytes = b"") -> Path:
    """A whole recording."""
    recording = await recordings.begin(podcast_id, "a")
    await write(recording, *range(clusters), mark=mark)
    await recording.finish()
    path = recordings.whole(podcast_id)
    assert path is not None
    return path


async def heard(recordings: Recordings, podcast_id: str = "p", **options: Any) -> list[bytes]:
    return [data async for data in recordings.clusters(podcast_id, **options)]


class Listener:
    """Somebody who takes everything that comes."""

    def __init__(self, recordings: Recordings, podcast_id: str = "p", **options: Any) -> None:
        self.got: list[bytes] = []
        self.at_first = asyncio.Event()
        self._more = asyncio.Condition()
        self.task = asyncio.create_task(self._listen(recordings.clusters(podcast_id, **options)))

    async def _listen(self, clusters: AsyncIterator[bytes]) -> None:
        async for data in clusters:
            self.got.append(data)
            async with self._more:
                self._more.notify_all()

    async def has(self, count: int) -> None:
        """Wait until it has so many pieces, the initial segment among them."""
        async with self._more:
            await self._more.wait_for(lambda: len(self.got) >= count)


def parts(recordings: Recordings) -> list[Path]:
    return sorted((recordings._shelf.parts_directory).iterdir())


def times(got: list[bytes]) -> list[int]:
    """When the clusters begin, after an initial segment."""
    assert got[0].startswith(b"\x1a\x45\xdf\xa3")
    _, segment = parse(b"".join(got))
    return [cluster.one("Timestamp") for cluster in segment.all("Cluster")]
