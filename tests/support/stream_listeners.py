"""What the tests of the stream share: recordings of tones made by hand beside a running service, and its listeners."""

from __future__ import annotations

import asyncio
import io
import math
import os
import socket
import struct
from array import array
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import httpx
import msgspec
import uvicorn
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from greenroom_platform.cli import serve
from greenroom_platform.domain.task_records import Claim, KeepsTasks
from greenroom_platform.http.app import create_app
from greenroom_platform.http.settings import Settings
from greenroom_platform.http.shutdown import Shutdown
from greenroom_platform.platform import DATABASE_FILE, Platform, open_platform
from greenroom_platform.storage import open_records
from greenroom_platform.studio.opus import RATE, OpusEncoder
from greenroom_platform.studio.recording_writer import RecordingWriter
from greenroom_platform.studio.webm import CLUSTER_MS, Cluster, Muxer
from greenroom_platform.testing.records_changes import NOON, about
from tests.support.asgi_server import Quiet, state_of
from tests.support.patience import until
from tests.support.running_service import API, NO_TLS, TOKEN, Service
from tests.support.studio_samples import a_cluster

TOPIC = "tech_ai_ethics"
UNKNOWN = "0" * 32
ROUTE = f"{API}/podcasts/{{podcast_id}}/stream"


# Recordings ------------------------------------------------------------------------------------------


def pitch(second: int) -> int:
    """The tone of a second of the recordings, in Hz: no two of twenty sound alike."""
    return 300 + 100 * (second % 20)


@cache
def tones(seconds: float) -> tuple[Cluster, ...]:
    """A recording of so many seconds, each with a tone of its own."""
    encoder, muxer, made = OpusEncoder(), Muxer(), list[Cluster]()
    for at in range(math.ceil(seconds)):
        length = int(RATE * min(1.0, seconds - at))
        wave = (int(12_000 * math.sin(2 * math.pi * pitch(at) * n / RATE)) for n in range(length))
        made += muxer.add(encoder.feed(array("h", wave).tobytes()))
    return (*made, *muxer.finish(*encoder.finish()))


def heavy(number: int) -> Cluster:
    """A cluster of 65 kB that is no audio."""
    return a_cluster(number, size=1300)


@dataclass
class Decoded:
    """What a player hears: where the audio begins, in seconds, and its samples."""

    begins: float
    samples: array[float]
    rate: int
    gaps: int

    @property
    def seconds(self) -> float:
        """How long it is."""
        return len(self.samples) / self.rate

    def pitches(self) -> list[int]:
        """The tone of each whole second that is heard, from its middle."""
        first, last = math.ceil(self.begins - 0.01), int(self.begins + self.seconds + 0.01)
        found = []
        for second in range(first, last):
            middle = int((second - self.begins + 0.5) * self.rate)
            part = self.samples[middle - self.rate // 4 : middle + self.rate // 4]
            ups = sum(1 for a, b in pairwise(part) if a < 0 <= b)
            found.append(round(2 * ups, -2))
        return found


def decode(data: bytes) -> Decoded:
    """Decode WebM with FFmpeg; `gaps` counts frames that do not begin where the one before ended."""
    samples, begins, gaps, rate = array("f"), -1.0, 0, 48_000
    expected = 0.0
    with av.open(io.BytesIO(data), "r") as container:
        for frame in container.decode(audio=0):
            at, rate = float(frame.time or 0), frame.sample_rate
            if begins < 0:
                begins = expected = at
            # A millisecond is the finest time that WebM has here.
            gaps += abs(at - expected) > 0.0021
            expected = at + frame.samples / rate
            samples.frombytes(bytes(frame.planes[0])[: 4 * frame.samples])
    return Decoded(begins, samples, rate, gaps)


# Podcasts --------------------------------------------------------------------------------------------


class Studio:
    """A worker made by hand: a room of its own on the data directory of a service."""

    def __init__(self, platform: Platform) -> None:
        self.platform = platform

    async def claimed(self) -> Claim:
        """A podcast that was just asked for, and is ours to make."""
        requested = await self.platform.generation.request(TOPIC)
        claim = await self.platform.tasks.claim("by-hand", 600)
        assert claim is not None
        assert claim.podcast_id == requested.task.podcast_id
        return claim

    async def attempt(self, claim: Claim, clusters: Sequence[Cluster] = ()) -> RecordingWriter:
        """The recording of a claim, with these clusters so far."""
        recording = self.platform.recordings.begin(claim.podcast_id, claim.number)
        for cluster in clusters:
            await recording.append(cluster)
        return recording

    async def another(self, claim: Claim) -> Claim:
        """The claim of another worker, who takes the podcast over."""
        await self.platform.tasks.give_back(claim, counted=False)
        again = await self.platform.tasks.claim("by-another-hand", 600)
        assert again is not None
        assert again.podcast_id == claim.podcast_id
        return again

    async def rendering(self, clusters: Sequence[Cluster] = ()) -> tuple[Claim, RecordingWriter]:
        """A podcast that is being rendered."""
        claim = await self.claimed()
        await self.platform.tasks.advance(claim, "audio_rendering")
        return claim, await self.attempt(claim, clusters)

    async def finish(self, claim: Claim, recording: RecordingWriter, clusters: Sequence[Cluster] = ()) -> None:
        """Render the rest."""
        for cluster in clusters:
            await recording.append(cluster)
        size = await recording.finish()
        await self.platform.tasks.advance(claim, "ready_to_stream", size=size)

    async def ready(self, clusters: Sequence[Cluster]) -> str:
        """The id of a podcast that is whole."""
        claim, recording = await self.rendering()
        await self.finish(claim, recording, clusters)
        return claim.podcast_id

    async def expire(self, podcast_id: str) -> None:
        """Have a recording given up for its age, as the record tells it."""
        assert isinstance(self.platform.records, KeepsTasks)
        await self.platform.records.tasks.update_stored(podcast_id, expired=self.platform.room.clock.now())

    async def failed(self, message: str) -> str:
        """The id of a podcast that could not be made."""
        claim = await self.claimed()
        await self.platform.tasks.fail(claim, message)
        return claim.podcast_id

    async def file(self, podcast_id: str) -> Path:
        """A whole recording's file in the data directory."""
        whole = await self.platform.recordings.whole(podcast_id)
        assert whole is not None
        return Path(self.platform.recordings.store.place) / whole.name


@asynccontextmanager
async def studio_of(service: Service) -> AsyncIterator[Studio]:
    """A studio beside a running service."""
    async with open_platform(data_dir=service.data_dir) as platform:
        yield Studio(platform)


# Listeners -------------------------------------------------------------------------------------------


def listener(service: Service | str, podcast_id: str, query: str = "", **headers: str) -> connect:
    """A WebSocket to a podcast's stream; headers as `X_Request_Id="a"`."""
    url = service if isinstance(service, str) else service.url
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    address = f"ws{url.removeprefix('http')}{API}/podcasts/{podcast_id}/stream{query}"
    return connect(address, additional_headers=sent, proxy=None, compression=None, open_timeout=30)


@dataclass
class Heard:
    """What a listener got."""

    texts: list[dict[str, Any]] = field(default_factory=list)
    clusters: list[bytes] = field(default_factory=list)
    """The initial segment first."""
    order: str = ""
    """`t` for each text message, `b` for each binary one."""
    code: int | None = None
    reason: str = ""

    @property
    def audio(self) -> bytes:
        """What a player is fed."""
        return b"".join(self.clusters)

    @property
    def last(self) -> dict[str, Any]:
        """The last text."""
        return self.texts[-1]


async def hear(opened: ClientConnection, heard: Heard | None = None, *, clusters: int | None = None) -> Heard:
    """Listen to the end, or until so many binary messages have come in all."""
    heard = heard or Heard()
    try:
        async with asyncio.timeout(30):
            while clusters is None or len(heard.clusters) < clusters:
                message = await opened.recv()
                if isinstance(message, str):
                    heard.texts.append(msgspec.json.decode(message))
                    heard.order += "t"
                else:
                    heard.clusters.append(message)
                    heard.order += "b"
    except ConnectionClosed:
        heard.code, heard.reason = opened.close_code, opened.close_reason or ""
    return heard


async def heard_of(service: Service | str, podcast_id: str, query: str = "", **headers: str) -> Heard:
    """All that a listener gets who listens to the end."""
    async with listener(service, podcast_id, query, **headers) as opened:
        return await hear(opened)


def activity(service: Service) -> dict[str, int]:
    """Who listens to what, as `GET /activity` tells."""
    answer = httpx.get(f"{service.url}{API}/activity", headers=service.editor, timeout=30, verify=NO_TLS)
    answer.raise_for_status()
    listeners: dict[str, int] = answer.json()["listeners"]
    return listeners


def open_files(pid: int) -> list[str]:
    """What a process has open, by name."""
    return sorted(_links(Path(f"/proc/{pid}/fd")))


def _links(directory: Path) -> Iterator[str]:
    for entry in directory.iterdir():
        try:
            yield os.readlink(entry)
        except FileNotFoundError:
            continue


def resident(pid: int) -> int:
    """The memory of a process, in bytes."""
    fields = Path(f"/proc/{pid}/statm").read_text().split()
    return int(fields[1]) * os.sysconf("SC_PAGE_SIZE")


def seconds_of(clusters: Sequence[Cluster]) -> float:
    """How long a recording of these is."""
    return clusters[-1].end_ms / CLUSTER_MS


# A service in this process -----------------------------------------------------------------------------


class Inner:
    """The service as `greenroom serve` runs it, in this event loop: its parts can be reached."""

    def __init__(self, url: str, server: uvicorn.Server, state: Any) -> None:
        self.url = url
        self.server = server
        self.platform: Platform = state.platform
        self.ending: Shutdown = state.ending
        self.studio = Studio(self.platform)

    async def listeners(self) -> dict[str, int]:
        """Who listens to what."""
        return await self.platform.presence.listeners()


@asynccontextmanager
async def inner(
    data_dir: Path, tune: Callable[[uvicorn.Config], None] = lambda _: None, **settings_: str
) -> AsyncIterator[Inner]:
    """Serve while the block runs.

    Arguments:
        tune: changes how the server serves.
        settings_: further settings.
    """
    flags = {"data_dir": str(data_dir), "port": "0", "work": "off", "streams_per_address": "10000"}
    settings = Settings.read({}, flags | {"editor_token": TOKEN} | settings_)
    data_dir.mkdir(exist_ok=True)
    app = create_app(settings)
    config = serve.server_config(settings)
    config.app = lambda: app
    tune(config)
    with serve._listening(settings, config.backlog) as listening:
        records = await open_records(data_dir / DATABASE_FILE)
        await records.put_topic(TOPIC, about("Ethics"), NOON)
        await records.close()
        server = Quiet(config)
        serving = asyncio.ensure_future(server.serve([listening]))
        try:
            await until(lambda: server.started or serving.done(), 30)
            assert server.started, "it did not start"
            yield Inner(f"http://127.0.0.1:{listening.getsockname()[1]}", server, state_of(app))
        finally:
            server.should_exit = True
            await serving


# Listeners that read no WebSocket by themselves ------------------------------------------------------------


class Bare:
    """A listener's connection of which nothing is read but when the test says so, with a small buffer of the system."""

    def __init__(self, handle: socket.socket) -> None:
        self._handle = handle
        self._data = b""

    @classmethod
    async def opened(cls, url: str, podcast_id: str, **headers: str) -> Bare:
        """Shake hands, and read no further."""
        host, _, port = url.removeprefix("http://").partition(":")
        handle = socket.socket()
        handle.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
        handle.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(handle, (host, int(port)))
        lines = [
            f"GET {API}/podcasts/{podcast_id}/stream HTTP/1.1",
            f"Host: {host}:{port}",
            "Upgrade: websocket",
            "Connection: Upgrade",
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
            "Sec-WebSocket-Version: 13",
            *(f"{name.replace('_', '-')}: {value}" for name, value in headers.items()),
        ]
        await loop.sock_sendall(handle, ("\r\n".join(lines) + "\r\n\r\n").encode())
        made = cls(handle)
        while b"\r\n\r\n" not in made._data:
            await made._more()
        head, _, made._data = made._data.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101 "), head
        return made

    async def frame(self) -> tuple[int, bytes]:
        """The next frame: opcode and payload."""
        first, length = await self._take(2)
        if length >= 126:
            length = int.from_bytes(await self._take(2 if length == 126 else 8), "big")
        return first & 15, await self._take(length)

    async def close_code(self) -> int:
        """Read to the close, and return its code."""
        while True:
            opcode, payload = await self.frame()
            if opcode == CLOSE:
                return int.from_bytes(payload[:2], "big")

    async def end(self) -> bytes:
        """What the server still says until it ends the connection; raises where it breaks it off."""
        data, self._data = self._data, b""
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(30):
            while more := await loop.sock_recv(self._handle, 65_536):
                data += more
        return data

    async def say(self, text: str) -> None:
        """Send a text of less than 126 bytes, masked with zeros."""
        await self.send(bytes((0x81, 0x80 | len(text), 0, 0, 0, 0)) + text.encode())

    async def send(self, frames: bytes) -> None:
        """Send frames as they are."""
        await asyncio.get_running_loop().sock_sendall(self._handle, frames)

    def abort(self) -> None:
        """Be gone without a word."""
        self._handle.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._handle.close()

    async def _take(self, length: int) -> bytes:
        while len(self._data) < length:
            await self._more()
        taken, self._data = self._data[:length], self._data[length:]
        return taken

    async def _more(self) -> None:
        async with asyncio.timeout(30):
            data = await asyncio.get_running_loop().sock_recv(self._handle, 65_536)
        if not data:
            raise EOFError
        self._data += data


TEXT, BINARY, CLOSE, PING = 1, 2, 8, 9
