"""A proxy before a server or a cluster that makes bytes wait, cuts connections and loses replies."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import suppress

import hiredis

from tests.support.episode_caches import KEY
from tests.support.patience import harm, until
from tests.support.real_cluster import Cluster
from tests.support.real_servers import Server, free_port


class Held:
    """A command on its way to the server, at which its connection stands still."""

    def __init__(self, words: tuple[str, ...], skip: int) -> None:
        self.words = {word.encode() for word in words}
        self.skip = skip
        self.reached = asyncio.Event()
        self.go = asyncio.Event()

    def release(self) -> None:
        """Let it pass, and what follows it."""
        self.go.set()


class HeldReplies:
    """What the server has said since a moment, not passed on yet."""

    def __init__(self, begins: bytes) -> None:
        self.begins = begins
        self.frames: list[bytes] = []
        self.writer: asyncio.StreamWriter | None = None
        self.released = False

    async def have(self, *texts: str) -> None:
        """Return when they hold all of `texts`."""
        await until(lambda: all(any(text.encode() in frame for frame in self.frames) for text in texts))

    def release(self) -> None:
        """Pass them on in one write; what comes later passes too."""
        self.released = True
        self._pass(len(self.frames))

    def release_to_push(self) -> None:
        """Pass on what precedes the first push."""
        self._pass([frame[:1] for frame in self.frames].index(b">"))

    def _pass(self, number: int) -> None:
        if self.writer is not None:
            self.writer.write(b"".join(self.frames[:number]))
        del self.frames[:number]


class _Rules:
    """Which commands wait, and which reply gets lost."""

    def __init__(self) -> None:
        self.gate: Callable[[list[bytes]], Awaitable[None]] | None = None
        self.held: list[Held] = []
        self.cut: set[bytes] = set()


class Proxy:
    """Stands between an engine and its server. Bytes keep their order; a test says which of them wait, or get lost.

    Its `address` takes the place of the server's.
    """

    def __init__(self, server: Server) -> None:
        self._server = server
        self.port = free_port()
        self.names: dict[int, int] = {}
        """What a node of a cluster says of ports → what is passed on."""
        self._rules = _Rules()
        self._replies: HeldReplies | None = None
        self._listener: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def address(self) -> str:
        return f"valkey://127.0.0.1:{self.port}"

    @property
    def gate(self) -> Callable[[list[bytes]], Awaitable[None]] | None:
        """Awaited with each command before it passes."""
        return self._rules.gate

    @gate.setter
    def gate(self, gate: Callable[[list[bytes]], Awaitable[None]] | None) -> None:
        self._rules.gate = gate

    async def __aenter__(self) -> Proxy:
        await self.up()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.down()

    async def up(self) -> None:
        """Take connections."""
        # Nobody holds the port while the proxy is down: a connection that somebody else makes may have it for a moment.
        async with asyncio.timeout(30):
            while True:
                with suppress(OSError):
                    self._listener = await asyncio.start_server(self._connected, "127.0.0.1", self.port)
                    return
                await asyncio.sleep(0.05)

    async def down(self) -> None:
        """Take no more connections, and cut those there are."""
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        await self.cut()

    async def cut(self) -> None:
        """Cut every connection."""
        harm()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    @property
    def ways(self) -> Sequence[Proxy]:
        """Those to each node: of one server itself."""
        return (self,)

    async def all_down(self) -> None:
        """As `down`, of every node."""
        for one in self.ways:
            await one.down()

    async def all_cut(self) -> None:
        """As `cut`, of every node."""
        for one in self.ways:
            await one.cut()

    def hold(self, *words: str, skip: int = 0) -> Held:
        """Stop at the next command that has all these words, or at a later such one."""
        harm()
        held = Held(words, skip)
        self._rules.held.append(held)
        return held

    def hold_replies(self) -> HeldReplies:
        """From now on keep back what the server says."""
        harm()
        self._replies = HeldReplies(b"")
        return self._replies

    def hold_push(self) -> HeldReplies:
        """Keep back the next push, and what the server says after it."""
        harm()
        self._replies = HeldReplies(b">")
        return self._replies

    def cut_reply_to(self, *words: str) -> None:
        """Pass the next command on that has all these words, and cut its connection when the reply comes."""
        harm()
        self._rules.cut = {word.encode() for word in words}

    # ------------------------------------------------------------------------------------------------

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(_Connection(self, writer).serve(reader, self._server.port))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def passing(self, command: list[bytes]) -> bool:
        """Wait as long as the test says; True where the reply is to be lost."""
        for held in self._rules.held:
            if held.words.issubset(command):
                if held.skip:
                    held.skip -= 1
                    continue
                self._rules.held.remove(held)
                held.reached.set()
                await held.go.wait()
                break
        if self._rules.gate is not None:
            await self._rules.gate(command)
        lost = bool(self._rules.cut) and self._rules.cut.issubset(command)
        if lost:
            self._rules.cut = set()
        return lost

    def kept_back(self, frame: bytes, writer: asyncio.StreamWriter) -> bool:
        """Whether a frame waits, and all that follow it."""
        held = self._replies
        if held is None or held.released or (held.writer is not None and held.writer is not writer):
            return False
        if held.writer is None:
            if not frame.startswith(held.begins):
                return False
            held.writer = writer
        held.frames.append(frame)
        return True


_NOBODY = 1
"""A port where nobody listens."""


class ClusterProxy(Proxy):
    """Stands between an engine and a cluster.

    Commands are held wherever they go; replies and connections are those of the node that owns `key`.
    """

    def __init__(self, cluster: Cluster, key: str = KEY) -> None:
        owner = cluster.owner(key)
        super().__init__(owner)
        self.others = [Proxy(one) for one in cluster.members if one.role == "master" and one is not owner]
        # Who asked a replica who owns what would be told the way around the proxy.
        hidden = {one.port: _NOBODY for one in cluster.members if one.role != "master"}
        for one in self.ways:
            one.names = hidden | {two._server.port: two.port for two in self.ways}
            one._rules = self._rules

    @property
    def address(self) -> str:
        return f"valkey+cluster://127.0.0.1:{self.port}"

    @property
    def ways(self) -> Sequence[Proxy]:
        return (self, *self.others)

    async def __aenter__(self) -> Proxy:
        for one in self.ways:
            await one.up()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.all_down()


def proxy_of(server: Server | Cluster) -> Proxy:
    """A proxy before a server, or before a cluster."""
    return ClusterProxy(server) if isinstance(server, Cluster) else Proxy(server)


class _Connection:
    def __init__(self, proxy: Proxy, client: asyncio.StreamWriter) -> None:
        self._proxy = proxy
        self._client = client
        self._server: asyncio.StreamWriter | None = None
        self._lost = False

    async def serve(self, client: asyncio.StreamReader, port: int) -> None:
        pumps: set[asyncio.Task[None]] = set()
        try:
            server, self._server = await asyncio.open_connection("127.0.0.1", port)
            pumps = {asyncio.ensure_future(self._commands(client)), asyncio.ensure_future(self._replies(server))}
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        except OSError:
            pass  # the server is down
        finally:
            for writer in (self._client, self._server):
                if writer is not None:
                    writer.transport.abort()
            for pump in pumps:
                pump.cancel()

    async def _commands(self, client: asyncio.StreamReader) -> None:
        assert self._server is not None
        commands = hiredis.Reader(notEnoughData=Ellipsis)
        while data := await _read(client):
            commands.feed(data)
            while (command := commands.gets()) is not Ellipsis:
                self._lost = await self._proxy.passing(command) or self._lost
                self._server.write(hiredis.pack_command(tuple(command)))

    async def _replies(self, server: asyncio.StreamReader) -> None:
        rest = b""
        while data := await _read(server):
            if self._lost:
                return
            rest += data
            passed = bytearray()
            for frame in _frames(rest):
                rest = rest[len(frame) :]
                frame = _renamed(frame, self._proxy.names)
                if not self._proxy.kept_back(frame, self._client):
                    passed += frame
            self._client.write(passed)


def _renamed(frame: bytes, names: dict[int, int]) -> bytes:
    """A view of a cluster, or a redirection, with other ports; anything else as it is."""
    if b"replication-offset" in frame:
        # Not every such number: a slot has that of a port too.
        before = b"$4\r\nport\r\n:"
    elif frame.startswith((b"-MOVED ", b"-ASK ")):
        before = b":"
    else:
        return frame
    for port, name in names.items():
        frame = frame.replace(b"%b%d\r\n" % (before, port), b"%b%d\r\n" % (before, name))
    return frame


async def _read(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.read(65536)
    except OSError:
        return b""


def _frames(data: bytes) -> Iterator[bytes]:
    """The whole RESP3 replies and pushes at the beginning of `data`."""
    start = 0
    while (end := _end(data, start)) is not None:
        yield data[start:end]
        start = end


def _end(data: bytes, start: int) -> int | None:
    line = data.find(b"\r\n", start)
    if line < 0:
        return None
    kind, end = data[start : start + 1], line + 2
    if kind in b"+-:,_#(":
        return end
    number = int(data[start + 1 : line])
    if kind in b"$=!":
        end += max(0, number) + 2 if number >= 0 else 0
        return end if end <= len(data) else None
    for _ in range(number * 2 if kind in b"%|" else number):
        inner = _end(data, end)
        if inner is None:
            return None
        end = inner
    return end
