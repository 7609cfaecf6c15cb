"""What a round stands on: one server, two, one behind TLS, or the embedded one; and the ways of each process there."""

from __future__ import annotations

import os
import signal
import socket
import ssl
import struct
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Protocol

from greenroom.engine.embedded import SOCKET
from tests.support.patience import wait_for
from tests.support.real_servers import Raw
from tests.support.tls_proxy import Authority
from torture.judge import APART
from torture.proxy import Proxy
from torture.server import LastingServer

GROUNDS = ("one", "two", "tls", "embedded")
"""One server; caches and sessions on two; one behind TLS; one that the processes start themselves."""


class Victim(Protocol):
    """A server that harm is done to."""

    node: str
    """What it is called in the history; empty where it has the caches."""

    def raw(self) -> Raw:
        """A client that bypasses the engine."""

    def signal(self, number: int) -> None:
        """Send it a signal."""

    def kill(self) -> None:
        """End it as a crash would."""

    def start(self) -> None:
        """Start it again."""


class Embedded:
    """The server in the data directory of all processes: they start it, and start it again.

    Arguments:
        directory: the data directory.
    """

    node = ""

    def __init__(self, directory: Path) -> None:
        self._socket = str(directory / SOCKET)

    def raw(self) -> Raw:
        return Raw(path=self._socket)

    def signal(self, number: int) -> None:
        if (pid := self._pid()) is not None:
            os.kill(pid, number)

    def kill(self) -> None:
        self.signal(signal.SIGKILL)

    def start(self) -> None:
        wait_for(lambda: self._pid() is not None, 20)

    def _pid(self) -> int | None:
        """Who listens; asked of the kernel, since a server that stands still answers nothing."""
        with socket.socket(socket.AF_UNIX) as probe:
            try:
                probe.connect(self._socket)
            except OSError:
                return None
            (pid,) = struct.unpack_from("i", probe.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        return int(pid)


class Ground:
    """Made by `laid`."""

    def __init__(self) -> None:
        self.victims: list[Victim] = []
        self.ways: list[list[Proxy]] = []
        """Of each process."""
        self.addresses: list[Mapping[str, str]] = []
        """Of each process, as members of its plan."""

    @property
    def apart(self) -> bool:
        """Whether the sessions have a server of their own."""
        return len(self.victims) > 1

    def raw(self) -> Raw:
        """A client of the caches' server."""
        return self.victims[0].raw()

    @classmethod
    async def laid(cls, kind: str, directory: Path, processes: int, stack: AsyncExitStack) -> Ground:
        """Servers that run, and ways for so many processes; the stack ends them.

        Arguments:
            kind: one of `GROUNDS`.
        """
        self = cls()
        if kind == "embedded":
            self.victims = [Embedded(directory / "data")]
            self.ways = [[] for _ in range(processes)]
            self.addresses = [{"address": "embedded"}] * processes
            return self
        options: dict[str, Any] = {}
        query = ""
        if kind == "tls":
            options, query = {"tls": _certified(directory)}, f"?cacert={directory / 'authority.pem'}"
        servers = [LastingServer(directory)]
        if kind == "two":
            servers.append(LastingServer(directory, APART))
        for server in servers:
            stack.callback(server.kill)
            server.start()
        self.victims = list(servers)
        for _ in range(processes):
            ways = [Proxy(server.port, **options) for server in servers]
            for way in ways:
                await way.start()
                stack.push_async_callback(way.close)
            names = ("address", "session_address")
            self.ways.append(ways)
            self.addresses.append({name: way.address + query for name, way in zip(names, ways, strict=False)})
        return self


def _certified(directory: Path) -> ssl.SSLContext:
    made = Authority(directory).signs("server", "IP:127.0.0.1")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made.cert, made.key)
    return context
