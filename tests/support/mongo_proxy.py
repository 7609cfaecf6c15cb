"""A proxy before a server of MongoDB's protocol, which counts the commands of a record and cuts them off."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager
from typing import Any

from tests.support.mongo_server import MongoServer

_SESSION = b"\x05id\x00\x10\x00\x00\x00\x04"
"""What each command of a session has in it, and no command by which a driver looks after its servers."""


class MongoProxy:
    """Passes messages on until it is told to cut."""

    def __init__(self, server: MongoServer) -> None:
        self._server = server
        self.port = 0
        self.reached = False
        self.commands: list[bytes] = []
        """Names of the commands since the last cut was begun."""
        self.bodies: list[bytes] = []
        """The same, whole."""
        self.replaced: dict[bytes, bytes] = {}
        """Bytes of the server's messages, and as many in their place: what a driver stores that looks at nothing."""
        self._at: int | None = None
        self._answered = False
        self._connections: set[asyncio.StreamWriter] = set()
        self._under_way: set[asyncio.Task[Any]] = set()

    def url(self, name: str) -> str:
        """The address of a database behind it; direct, since the server names its own port to who asks."""
        return f"mongodb://127.0.0.1:{self.port}/{name}?directConnection=true"

    def lose_commands(self, step: int) -> AbstractContextManager[MongoProxy]:
        """Lose the command of that number, from 0, and all after it, until the end of the block."""
        return self._cutting(step, answered=False)

    def lose_replies(self, step: int) -> AbstractContextManager[MongoProxy]:
        """Let the server have the command of that number, and lose its reply; and so with all after it."""
        return self._cutting(step, answered=True)

    @contextmanager
    def _cutting(self, step: int, *, answered: bool) -> Iterator[MongoProxy]:
        self.reached, self._at, self._answered = False, step, answered
        self.commands.clear()
        self.bodies.clear()
        try:
            yield self
        finally:
            self._at = None

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[MongoProxy]:
        """Listen until the end of the block."""
        listening = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.port = listening.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            listening.close()
            self.cut()
            if self._under_way:
                await asyncio.wait(self._under_way, timeout=10)

    def cut(self) -> None:
        """Close every connection."""
        for writer in list(self._connections):
            writer.close()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        try:
            server, to_server = await asyncio.open_connection("127.0.0.1", self._server.port)
        except OSError:
            writer.close()
            return
        self._connections |= {writer, to_server}
        silenced = asyncio.Event()
        back = asyncio.create_task(self._back(server, writer, silenced))
        try:
            while True:
                message = await _message(reader)
                if self._is_cut(message):
                    if self._answered:
                        silenced.set()
                        to_server.write(message)
                        await to_server.drain()
                        # Cut only when it has answered: a command on a connection that closes may never be carried out.
                        await back
                    return
                to_server.write(message)
                await to_server.drain()
        except (asyncio.IncompleteReadError, OSError):
            return
        finally:
            back.cancel()
            for one in (writer, to_server):
                one.close()
                self._connections.discard(one)

    def _is_cut(self, message: bytes) -> bool:
        if _SESSION not in message or self._at is None:
            return False
        self.bodies.append(message)
        self.commands.append(message[26 : message.index(b"\0", 26)])
        self.reached = self.reached or len(self.commands) > self._at
        return self.reached

    async def _back(self, server: asyncio.StreamReader, writer: asyncio.StreamWriter, silenced: asyncio.Event) -> None:
        try:
            while True:
                message = await _message(server)
                if silenced.is_set():
                    return
                for stored, other in self.replaced.items():
                    assert len(stored) == len(other)
                    message = message.replace(stored, other)
                writer.write(message)
        except (asyncio.IncompleteReadError, OSError):
            writer.close()


async def _message(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readexactly(4)
    return head + await reader.readexactly(int.from_bytes(head, "little") - 4)
