"""The way from one process to the server, which can be cut, held up or closed."""

from __future__ import annotations

import asyncio
import random
import ssl
from contextlib import suppress

_CHUNK = 65536


class Proxy:
    """Passes bytes on as they are and in order; delays and cuts are the only harm it does.

    Arguments:
        port: the server's.
        tls: what it speaks to its client by, which then encrypts.
    """

    def __init__(self, port: int, tls: ssl.SSLContext | None = None) -> None:
        self._server_port = port
        self._tls = tls
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._to_server = asyncio.Event()
        self._to_client = asyncio.Event()
        self.port = 0
        self.open = True
        """Whether new connections are accepted."""
        self.lag = 0.0
        """Seconds that each chunk is late, at most."""

    @property
    def address(self) -> str:
        """What an engine connects to."""
        return f"{'valkeys' if self._tls else 'valkey'}://127.0.0.1:{self.port}"

    async def start(self) -> None:
        """Listen on a free port."""
        self.thaw()
        self._server = await asyncio.start_server(self._accepted, "127.0.0.1", 0, ssl=self._tls)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """End everything."""
        assert self._server is not None
        self._server.close()
        self.cut()
        self.thaw()
        if self._connections:
            await asyncio.wait(self._connections)

    def cut(self) -> None:
        """Reset every connection."""
        for writer in self._writers:
            writer.transport.abort()

    def freeze(self, *, to_server: bool = True, to_client: bool = True) -> None:
        """Hold up what comes from now on; it is passed on after `thaw`, even where its sender has gone."""
        if to_server:
            self._to_server.clear()
        if to_client:
            self._to_client.clear()

    def thaw(self) -> None:
        """Pass everything on again."""
        self._to_server.set()
        self._to_client.set()

    # ------------------------------------------------------------------------------------------------

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        self._writers.add(writer)
        try:
            if self.open:  # else it is reset
                await self._joined(reader, writer)
        except OSError:
            pass  # the server is down
        finally:
            self._connections.discard(task)
            self._writers.discard(writer)
            writer.transport.abort()

    async def _joined(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server_reader, server_writer = await asyncio.open_connection("127.0.0.1", self._server_port)
        self._writers.add(server_writer)
        try:
            await asyncio.gather(
                self._passed_on(reader, server_writer, self._to_server),
                self._passed_on(server_reader, writer, self._to_client),
            )
        finally:
            self._writers.discard(server_writer)
            server_writer.transport.abort()

    async def _passed_on(self, source: asyncio.StreamReader, target: asyncio.StreamWriter, gate: asyncio.Event) -> None:
        with suppress(OSError):
            while data := await source.read(_CHUNK):
                if self.lag:
                    await asyncio.sleep(random.random() * self.lag)
                await gate.wait()
                target.write(data)
                await target.drain()
        with suppress(OSError, RuntimeError):
            target.write_eof()
