"""Connections on which a test says every byte itself."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any, NamedTuple
from urllib.parse import urlsplit


class Answer(NamedTuple):
    """One answer of a connection."""

    status: int
    headers: dict[str, str]
    body: bytes

    def problem(self, slug: str) -> dict[str, Any]:
        """The body, which must be a problem document of this kind."""
        assert self.headers["content-type"] == "application/problem+json", self
        assert self.headers["x-content-type-options"] == "nosniff"
        found: dict[str, Any] = json.loads(self.body)
        assert (found["type"], found["status"]) == (f"/problems/{slug}", self.status)
        assert found["request_id"] == self.headers["x-request-id"]
        assert found["detail"]
        return found


class RawConnection:
    """A connection; what the server says is read when the test asks for it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    def say(self, data: bytes) -> None:
        """Send without waiting for room."""
        self._writer.write(data)

    async def sent(self) -> None:
        """Return when the system has taken what was said, or the server has closed the connection."""
        with suppress(ConnectionError):
            await self._writer.drain()

    async def answer(self) -> Answer:
        """The next answer."""
        found = await self.head()
        async with asyncio.timeout(30):
            return found._replace(body=await self._reader.readexactly(int(found.headers.get("content-length", 0))))

    async def head(self) -> Answer:
        """The head of the next answer, which is all of an answer to HEAD."""
        async with asyncio.timeout(30):
            head = await self._reader.readuntil(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")[:-2]
        headers: dict[str, str] = {}
        for line in lines:
            name, _, value = line.partition(":")
            name = name.lower()
            headers[name] = f"{headers[name]}, {value.strip()}" if name in headers else value.strip()
        return Answer(int(first.split()[1]), headers, b"")

    async def end(self) -> bytes:
        """What the server still says until it closes the connection."""
        async with asyncio.timeout(30):
            return await self._reader.read()

    @property
    def is_closed(self) -> bool:
        """Whether the server has closed it and everything was read."""
        return self._reader.at_eof()


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[RawConnection]:
    """A connection to a server, while the block runs."""
    at = urlsplit(url)
    reader, writer = await asyncio.open_connection(at.hostname, at.port)
    try:
        yield RawConnection(reader, writer)
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()
