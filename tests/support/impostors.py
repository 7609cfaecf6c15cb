"""What answers at a server's port and is none: it never answers, or it answers nonsense."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import hiredis


class Impostor:
    """A server for tests of the engine: it completes the handshake, if it may, and answers the rest with `nonsense`.

    Arguments:
        nonsense: the bytes that answer each command after the handshake; empty for silence.
        handshake: whether the handshake is answered as a server does.
    """

    def __init__(self, nonsense: bytes = b"", *, handshake: bool = True) -> None:
        self._nonsense = nonsense
        self._handshake = handshake
        self.port = 0
        self.connections = 0
        """Connections ever accepted."""

    @property
    def address(self) -> str:
        """Its address."""
        return f"valkey://127.0.0.1:{self.port}"

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[Impostor]:
        """Listen on a free port."""
        listener = await asyncio.start_server(self._talk, "127.0.0.1", 0)
        self.port = listener.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            listener.close()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        commands = hiredis.Reader(notEnoughData=Ellipsis)
        shaking = self._handshake
        try:
            while data := await reader.read(65536):
                commands.feed(data)
                while (command := commands.gets()) is not Ellipsis:
                    writer.write(_welcome(command[0]) if shaking else self._nonsense)
                    shaking = shaking and command[0] != b"PING"  # the last of a handshake
        except ConnectionError:
            pass
        finally:
            writer.close()


def _welcome(command: bytes) -> bytes:
    return {b"PING": b"+PONG\r\n", b"HELLO": b"%1\r\n+proto\r\n:3\r\n"}.get(command, b"+OK\r\n")
