"""A server made of canned replies, over a socket that is none: every value bears the name of what was asked for."""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import hiredis
import msgspec

from greenroom.caching import groups, keyspace_drops, lease
from greenroom.engine.transport import handshake
from greenroom.engine.transport.connection import Connection
from greenroom.sessions import index, store
from torture.mutations import Mutation, mutate

_NOW = b"2026-01-01T00:00:00.000000Z"


class Canned(asyncio.Transport):
    """The socket of one connection to a server of canned replies."""

    def __init__(self, protocol: asyncio.Protocol, bursts: Bursts) -> None:
        super().__init__()
        self._protocol = protocol
        self._bursts = bursts
        self._commands = hiredis.Reader(notEnoughData=Ellipsis)
        self._closed = False

    def write(self, data: Any) -> None:
        self._commands.feed(bytes(data))
        frames: list[bytes] = []
        while (command := self._commands.gets()) is not Ellipsis:
            frames += self._bursts.answer(command)
        for piece in self._bursts.on_the_wire(frames):
            asyncio.get_running_loop().call_soon(self._deliver, piece)

    def is_closing(self) -> bool:
        return False

    def get_write_buffer_size(self) -> int:
        return 0

    def abort(self) -> None:
        self._closed = True

    def close(self) -> None:
        self.abort()

    def _deliver(self, piece: bytes) -> None:
        if not self._closed:
            self._protocol.data_received(piece)


class Bursts:
    """What the server answers, and which of its bursts is mutated."""

    def __init__(self, chance: random.Random) -> None:
        self.begin(chance)

    def begin(self, chance: random.Random) -> None:
        """Begin a stream, whose choices are these."""
        self._chance = chance
        self.due: int | None = None
        """Writes until one is mutated; None: none is."""
        self.mutation: Mutation | None = None
        """What was done to the stream; None: nothing yet."""

    def on_the_wire(self, frames: list[bytes]) -> list[bytes]:
        """The bytes of some frames, in the pieces that they arrive in."""
        if not frames:
            return []
        data = b"".join(frames)
        if self.due is not None:
            self.due -= 1
            if self.due < 0:
                self.due = None
                self.mutation = mutate(frames, self._chance)
                data = self.mutation.data
        cuts = sorted(self._chance.randrange(len(data) + 1) for _ in range(self._chance.randint(0, 3)))
        pieces = [data[start:end] for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True)]
        return [piece for piece in pieces if piece]

    def answer(self, command: list[bytes]) -> list[bytes]:
        """The frames that answer a command: its reply, and now and then a push before it."""
        name = command[0].decode()
        frames = [_frame(self._reply(name, command))]
        if name == "PTTL" and self._chance.random() < 0.2:
            frames.insert(0, b">2\r\n" + _frame(b"invalidate") + _frame([command[1]]))
        return frames

    def _reply(self, name: str, command: list[bytes]) -> Any:
        match name:
            case "HELLO":
                return {b"proto": 3}
            case "CLIENT" | "SELECT" | "READONLY" | "ASKING":
                return b"OK"
            case "PING":
                return b"PONG"
            case "SCRIPT":
                return hashlib.sha1(command[2], usedforsecurity=False).hexdigest().encode()
            case "GET":
                return None if self._chance.random() < 0.2 else msgspec.json.encode(command[1].decode())
            case "MGET":
                live = [_session(command[1]), b"1", _NOW, None]
                replaced = [None, None, None, _session(command[1])]
                return self._chance.choice((live,) * 8 + (replaced, [None, None, _NOW, None]))
            case "TIME":
                return [b"1767225600", b"1"]
            case "INFO":
                return b"role:master\r\n"
            case "CLUSTER" if command[1] == b"INFO":
                return b"cluster_state:ok\r\ncluster_current_epoch:1\r\n"
            case "CLUSTER":
                node = {b"port": 1, b"endpoint": b"canned", b"role": b"master", b"health": b"online"}
                return [{b"slots": [0, 16383], b"nodes": [node]}]
            case "ZRANGE":
                return [f"stream:s:n{n}".encode() for n in range(3)]
            case "ZMSCORE":
                return [1.0] * (len(command) - 2)
            case "EVALSHA":
                return self._script(command[1].decode(), command[3:])
        return 60_000 if name == "PTTL" else 1

    def _script(self, sha: str, words: list[bytes]) -> Any:
        if sha == lease.GET_OR_LEASE.sha:
            value = [b"value", msgspec.json.encode(words[0].decode()), 1000]
            if self._chance.random() < 0.01:
                return [b"wait", 1]
            return self._chance.choice([value, [b"lead"], [b"absent", 100], [b"failed", b"X", 100]])
        if sha == keyspace_drops.GENERATION.sha:
            return [b"", 1_767_225_600_000_001]
        if sha == groups.MEMBERS.sha:
            return [text for n in range(3) for text in (f"stream:s:n{n}".encode(), b"%d" % n)]
        if sha == index.SET_MEMBERS.sha:
            return [b"a" * 43, b"b" * 43] if words[-1] == b"1" else 2
        if sha == store.START.sha:
            return [_session(words[0]), _NOW]
        if sha == store.CHANGE.sha:
            return [b"written", words[4] + _NOW + words[5], _NOW] if words[3] else [b"gone"]
        if sha == store.CLAIM.sha:
            return [b"taken", 1000, _NOW]
        return 1


def _session(key: bytes) -> bytes:
    body = {"user_id": key.decode().rpartition(":")[2], "preferences": {}, "last_activity_timestamp": _NOW.decode()}
    return msgspec.json.encode(body)


def _frame(reply: Any) -> bytes:
    match reply:
        case None:
            return b"_\r\n"
        case bytes():
            return b"$%d\r\n%b\r\n" % (len(reply), reply)
        case int():
            return b":%d\r\n" % reply
        case float():
            return b",%r\r\n" % reply
        case dict():
            return b"%%%d\r\n" % len(reply) + b"".join(_frame(one) for pair in reply.items() for one in pair)
    return b"*%d\r\n" % len(reply) + b"".join(map(_frame, reply))


@asynccontextmanager
async def canned(bursts: Bursts) -> AsyncIterator[None]:
    """Connections made meanwhile lead to the server of canned replies."""

    async def opened(_: Any, __: Any, protocol: Callable[[], Connection], ___: Any) -> Connection:
        connection = protocol()
        connection.connection_made(Canned(connection, bursts))
        return connection

    usual = handshake._open
    handshake._open = opened  # type: ignore[assignment]
    try:
        yield
    finally:
        handshake._open = usual
