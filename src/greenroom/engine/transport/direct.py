"""A connection that a thread asks by itself, without an event loop: one question at a time."""

from __future__ import annotations

import asyncio
import select
import socket
from contextlib import suppress
from threading import Lock
from time import monotonic
from typing import Any

from greenroom.counters import Histogram
from greenroom.engine.address import Address
from greenroom.engine.commands import Command
from greenroom.engine.limits import Limits
from greenroom.engine.protocol.attributes import ProtocolViolation
from greenroom.engine.protocol.wire import Wire
from greenroom.engine.transport.handshake import log_in, with_remedy
from greenroom.errors import EngineError, EngineUnavailable

IDLE = 10.0
"""Seconds without a question after which a connection is replaced."""
_AT_ONCE = 65_536
"""Bytes that are received at a time."""


class DirectConnection:
    """A socket and its protocol; one thread at a time has them.

    Arguments:
        sock: connected, and not blocking.
        patience: seconds that one question may take.
        latency: of each question.
    """

    __slots__ = ("_answered_at", "_latency", "_patience", "_poll", "_replies", "_socket", "_taken", "_wire", "over")

    def __init__(self, sock: socket.socket, patience: float, latency: Histogram) -> None:
        self._socket = sock
        self._patience = patience
        self._latency = latency
        self._poll = select.poll()
        self._poll.register(sock, select.POLLIN)
        self._wire = Wire(None, self)
        self._replies: list[Any] = []
        # Prevents: two threads ask · each waits · the one that the system wakes first reads the other's reply.
        self._taken = Lock()
        self.over = False
        """Whether nothing more is asked here."""
        self._answered_at = monotonic()

    @property
    def idle(self) -> bool:
        """Whether it was not used for so long that what lies between may have forgotten it."""
        return monotonic() - self._answered_at > IDLE

    def ask(self, commands: tuple[Command, ...]) -> list[Any] | None:
        """The replies; an error reply is an item of the list. None while another thread asks, once it is idle or over.

        Raises:
            EngineUnavailable: when they did not come in time, or cannot be replies. It is over then.
        """
        taken = answered = False
        try:
            taken = self._taken.acquire(blocking=False)
            began = monotonic()
            if not taken or self.over or began - self._answered_at > IDLE:
                answered = True
                return None
            replies = self._asked(commands, began)
            answered = True
            return replies
        finally:
            # Interrupted before it is noted that the lock was taken, nobody asks here any more, and the connection is
            # soon found idle.
            if taken:
                if not answered:
                    # Interrupted, as by Ctrl-C, or not answered in time: a reply may still come, which is nobody's.
                    self.over = True
                self._taken.release()
                if self.over:
                    self.close()

    def _asked(self, commands: tuple[Command, ...], began: float) -> list[Any]:
        wire, left = self._wire, self._patience
        wire.issue(commands, None, self._answered)
        try:
            self._socket.sendall(wire.take())
            while wire.answered != wire.issued:
                # Not by a timeout of the kernel's, which a signal begins anew.
                if left <= 0 or not self._poll.poll(left * 1000):
                    raise EngineUnavailable("no reply in time")
                data = self._socket.recv(_AT_ONCE)
                if not data:
                    raise EngineUnavailable("the server closed the connection")
                wire.feed(data)
                now = monotonic()
                left = began + self._patience - now
        except OSError as error:
            raise EngineUnavailable(f"the connection was lost: {error}") from None
        except ProtocolViolation as error:
            raise EngineUnavailable(f"the server sent an invalid reply: {error}") from None
        self._answered_at = now
        self._latency.add(now - began)
        replies, self._replies = self._replies, []
        return replies

    def close(self) -> None:
        """End it, in any thread; a question under way gets no answer."""
        self.over = True
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)  # wakes the thread that waits, which closes it then
        if self._taken.acquire(blocking=False):
            self._socket.close()
            self._taken.release()

    def _answered(self, replies: list[Any], _: object) -> None:
        self._replies = replies


async def open_direct(
    address: Address, name: str, commands: tuple[Command, ...], *, latency: Histogram, limits: Limits
) -> tuple[DirectConnection, list[Any]]:
    """A connection to one server, without TLS, that is logged in, and the replies to some commands.

    Arguments:
        name: what the server's `CLIENT LIST` calls it.
        commands: sent after the log-in.

    Raises:
        OSError: when the server cannot be reached.
        TimeoutError: when it did not answer in time.
        EngineError: when it refused something, or is no server.
    """
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(limits.handshake_deadline):
        sock = await _connected(address)
        try:
            wire, said = Wire(None), list[Any]()
            first = log_in(address, name)
            wire.issue((*first, *commands, ("PING",)), None, lambda replies, _: said.extend(replies))
            await loop.sock_sendall(sock, wire.take())
            while wire.answered != wire.issued:
                data = await loop.sock_recv(sock, _AT_ONCE)
                if not data:
                    raise EngineUnavailable("the server closed the connection")
                wire.feed(data)
            for reply in said:
                if isinstance(reply, EngineError):
                    raise with_remedy(reply)
        except BaseException as error:
            sock.close()
            if isinstance(error, ProtocolViolation):
                raise EngineUnavailable(f"the server sent an invalid reply: {error}") from None
            raise
    return DirectConnection(sock, limits.command_deadline, latency), said[len(first) : -1]


async def _connected(address: Address) -> socket.socket:
    loop = asyncio.get_running_loop()
    if address.path is not None:
        found: list[tuple[Any, ...]] = [(socket.AF_UNIX, socket.SOCK_STREAM, 0, "", address.path)]
    else:
        host, port = address.hosts[0]
        found = list(await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM))
    error: OSError | None = None
    for family, kind, protocol, _, where in found:
        sock = socket.socket(family, kind, protocol)
        try:
            sock.setblocking(False)
            await loop.sock_connect(sock, where)
        except BaseException as failed:
            sock.close()
            if not isinstance(failed, OSError):
                raise
            error = failed
            continue
        if family != socket.AF_UNIX:
            with suppress(OSError):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return sock
    raise error or OSError("the server's host has no address")
