"""A gateway before an S3 server that answers some requests itself: what a store may say that the server never says."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import NamedTuple

from tests.support.s3_server import S3Server


class Request(NamedTuple):
    """What was asked: the path without its bucket, the range in bytes where there was one, and what was sent."""

    method: str
    path: str
    requested: range | None
    body: bytes


def refused(status: int, code: str, *, head: str = "") -> bytes:
    """An S3 error, as `refused(403, "AccessDenied")`; S3 begins it with a head and a new line."""
    return _xml(status, f"{head}<Error><Code>{code}</Code><Message>no</Message></Error>")


def not_removed(request: Request, code: str) -> bytes:
    """The answer to the removal of several objects, none of which was removed."""
    keys = re.findall(r"<Key>(.*?)</Key>", request.body.decode())
    errors = [f"<Error><Key>{key}</Key><Code>{code}</Code><Message>no</Message></Error>" for key in keys]
    return _xml(200, f"<DeleteResult>{''.join(errors)}</DeleteResult>")


SUCCESS = b'HTTP/1.1 200 OK\r\nETag: "1"\r\nContent-Length: 0\r\n\r\n'


class S3Gateway:
    """Passes requests on to a server, but for those that `answer` has an answer for.

    Arguments:
        server: None where `answer` answers all of them.
    """

    def __init__(self, server: S3Server | None, answer: Callable[[Request], bytes | None]) -> None:
        self._server = server
        self.answer = answer
        self.requests: list[Request] = []
        """All that were asked, in their order."""
        self.environ: dict[str, str] = {}
        """What reaches it, as obstore reads it."""
        self._serving: dict[asyncio.Task[None] | None, asyncio.StreamWriter] = {}

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[S3Gateway]:
        """Listen on a free port."""
        listener = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.environ = S3Server(0, listener.sockets[0].getsockname()[1]).environ
        try:
            yield self
        finally:
            listener.close()
            for writer in self._serving.values():
                writer.transport.abort()
            await asyncio.gather(*(task for task in self._serving if task is not None))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._serving[asyncio.current_task()] = writer
        with suppress(asyncio.IncompleteReadError, OSError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                body = await reader.readexactly(int(_header(head, "content-length") or 0))
                request = _request(head, body)
                self.requests.append(request)
                answer = self.answer(request)
                if answer is None:
                    writer.write(await self._passed(head, body))
                    break  # the server was told that it is the last one
                writer.write(answer)
        writer.close()

    async def _passed(self, head: bytes, body: bytes) -> bytes:
        """What the server answers."""
        assert self._server is not None
        back, forth = await asyncio.open_connection("127.0.0.1", self._server.port)
        forth.write(head.removesuffix(b"\r\n") + b"Connection: close\r\n\r\n" + body)
        try:
            return await back.read()
        finally:
            forth.close()


def _xml(status: int, body: str) -> bytes:
    head = f"HTTP/1.1 {status} So\r\nContent-Type: application/xml\r\nContent-Length: {len(body.encode())}\r\n\r\n"
    return (head + body).encode()


def _request(head: bytes, body: bytes) -> Request:
    method, target, _ = head.partition(b"\r\n")[0].decode().split(" ")
    asked = _header(head, "range").removeprefix("bytes=")
    first, _, last = asked.partition("-")
    requested = range(int(first), int(last) + 1) if asked else None
    return Request(method, target.lstrip("/").partition("/")[2], requested, body)


def _header(head: bytes, name: str) -> str:
    for line in head.decode().split("\r\n")[1:]:
        key, _, value = line.partition(":")
        if key.lower() == name:
            return value.strip()
    return ""
