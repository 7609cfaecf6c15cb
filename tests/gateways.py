"""One address before servers, as a balancer is: new connections lead to its target, open ones stay where they are."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from tests.servers import Server


class Gateway:
    """Made by `gateway`."""

    def __init__(self, target: int) -> None:
        self.target = target
        """The port that new connections lead to."""
        self.port = 0
        self.opened = 0
        """Connections ever accepted."""
        self.piece = 0
        """Bytes that arrive at a time, one piece each millisecond and more; 0: as they come."""
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
        pumps = (self._pump(reader, back, number, 0), self._pump(there, writer, number, 1))
        await asyncio.gather(*pumps, return_exceptions=True)
        for one in (writer, back):
            one.transport.abort()

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, number: int, back: int) -> None:
        with suppress(OSError):
            while data := await source.read(self.piece if back and self.piece else 65536):
                if number not in self._swallowed:
                    sink.write(data)
                    if self.piece and back:
                        await asyncio.sleep(0.001)
        if number not in self._swallowed:
            sink.transport.abort()


@asynccontextmanager
async def gateway(server: Server) -> AsyncIterator[Gateway]:
    """An address that leads to a server, until it is told another."""
    way = Gateway(server.port)
    listener = await asyncio.start_server(way.connected, "127.0.0.1", 0)
    way.port = listener.sockets[0].getsockname()[1]
    try:
        yield way
    finally:
        listener.close()


async def eventually(condition: object, seconds: float = 20.0) -> None:
    """Return when a condition holds."""
    assert callable(condition)
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.01)
