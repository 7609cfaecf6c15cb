"""One address before servers, as a balancer is: new connections lead to its target, open ones stay where they are."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

from tests.support.patience import until
from tests.support.real_servers import Server


class Gateway:
    """Made by `gateway`."""

    def __init__(self, target: int) -> None:
        self.target = target
        """The port that new connections lead to."""
        self.port = 0
        self.opened = 0
        """Connections ever accepted."""
        self.down, self.up = 0, 0
        """Bytes of the server and of the client that pass at a time; 0: as they come."""
        self.pause = 0.001
        """Seconds or more that each of them takes."""
        self._swallowed: set[int] = set()

    @property
    def address(self) -> str:
        """Its address."""
        return f"valkey://127.0.0.1:{self.port}"

    def swallow(self) -> None:
        """Forget the connections that are open: their bytes go nowhere, and nobody is told."""
        self._swallowed.update(range(self.opened + 1))

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """A client has come."""
        self.opened += 1
        number = self.opened
        try:
            there, back = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            writer.transport.abort()
            return
        pumps = (
            self._pump(reader, back, number, lambda: self.up),
            self._pump(there, writer, number, lambda: self.down),
        )
        await asyncio.gather(*pumps, return_exceptions=True)
        for one in (writer, back):
            one.transport.abort()

    async def _pump(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, number: int, piece: Callable[[], int]
    ) -> None:
        with suppress(OSError):
            while data := await source.read(piece() or 65536):
                if number not in self._swallowed:
                    sink.write(data)
                    await sink.drain()
                if piece():
                    await asyncio.sleep(self.pause)
        if number not in self._swallowed:
            sink.transport.abort()


@asynccontextmanager
async def gateway(server: Server) -> AsyncIterator[Gateway]:
    """An address that leads to a server, until it is told another."""
    way = Gateway(server.port)
    listening = socket.create_server(("127.0.0.1", 0))
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)  # what passes slowly is not hidden in buffers
    listener = await asyncio.start_server(way.connected, sock=listening)
    way.port = listening.getsockname()[1]
    try:
        yield way
    finally:
        listener.close()


async def eventually(condition: object, seconds: float = 60.0) -> None:
    """Return when a condition holds."""
    assert callable(condition)
    await until(lambda: condition(), seconds)
