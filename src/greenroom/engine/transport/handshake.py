"""How a connection begins: open the socket, log in, send what must come first; ready means PONG, not HELLO.

A starting server answers HELLO and CLIENT TRACKING while every command that reads data still says LOADING.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from greenroom.counters import Histogram
from greenroom.engine.address import Address
from greenroom.engine.commands import Command
from greenroom.engine.limits import Limits
from greenroom.engine.transport.connection import Connection
from greenroom.engine.transport.tls import given_up, refusal
from greenroom.errors import EngineError, EngineRefused, EngineUnavailable

_REMEDIES = {
    "NOAUTH": "give the address a user and a password, as valkey://user:password@host",
    "WRONGPASS": "correct the user and the password in the address",
    "NOPERM": "give the user what `greenroom acl` prints",
}
"""What to do about a refusal, by the first word of the reply."""
_UNSENT = 128 * 1024
"""Bytes that the system holds for a connection before it has sent them.

Prevents: the system holds four megabytes, and takes more only when a third of them has gone · a large value is sent
over a slow line · for seconds no byte goes from us to the system, and the connection is taken for dead.
"""


async def open_connection(
    address: Address,
    name: str,
    commands: tuple[Command, ...] = (),
    *,
    on_push: Callable[[list[Any]], None] | None = None,
    heartbeat: bool = False,
    latency: Histogram,
    limits: Limits,
) -> Connection:
    """A connection that is logged in, and has carried out some commands.

    Arguments:
        address: the server.
        name: what the server's `CLIENT LIST` calls it.
        commands: sent after the log-in.

    Raises:
        OSError: when the server cannot be reached.
        TimeoutError: when it did not answer in time.
        EngineError: when it refused something, or its certificate is refused.
    """
    loop = asyncio.get_running_loop()

    def protocol() -> Connection:
        return Connection(loop, on_push=on_push, heartbeat=heartbeat, latency=latency, limits=limits)

    tls = None if address.tls is None else await asyncio.to_thread(address.tls.context)
    connection: Connection | None = None
    try:
        # A frozen server's kernel accepts the connection, so the handshake needs a deadline of its own.
        async with asyncio.timeout(limits.handshake_deadline):
            connection = await _open(address, loop, protocol, tls)
            replies = await connection.issue((*log_in(address, name), *commands, ("PING",)))
    except BaseException as error:
        if connection is not None:
            connection.abort("the handshake was given up")
        said = None if connection is None else connection.refusal
        if isinstance(said, EngineRefused) and isinstance(error, EngineUnavailable):
            raise with_remedy(said) from None
        # What the server itself has said tells more than what a silent one may mean.
        if said is None and address.tls is not None and isinstance(error, EngineUnavailable | TimeoutError):
            met = None if connection is None else connection.error
            raise given_up(address.tls, error, met, begun=connection is not None) from None
        raise
    for reply in replies:
        if isinstance(reply, EngineError):
            connection.abort("the handshake was refused")
            raise with_remedy(reply)
    connection.is_replica = is_replica(replies[0])
    return connection


def is_replica(hello: dict[bytes, Any]) -> bool:
    """Whether the reply to a HELLO is that of a replica."""
    return hello.get(b"role") in (b"replica", b"slave")


async def _open(
    address: Address,
    loop: asyncio.AbstractEventLoop,
    protocol: Callable[[], Connection],
    tls: ssl.SSLContext | None,
) -> Connection:
    made: list[Connection] = []

    def making() -> Connection:
        made.append(protocol())
        return made[-1]

    try:
        if address.path is not None:
            return (await loop.create_unix_connection(making, address.path))[1]
        host, port = address.hosts[0]
        named = address.tls.server_name or host if address.tls is not None else None
        try:
            transport, connection = await loop.create_connection(making, host, port, ssl=tls, server_hostname=named)
        except ssl.SSLError as error:
            raise refusal(error, named or host) from None
        _bound_unsent(transport.get_extra_info("socket"))
        return connection
    except BaseException:
        # Prevents: uvloop says that the connection is made · its caller is cancelled before he has it · uvloop closes
        # it and never says that it is lost · its timer writes to what is closed.
        for connection in made:
            connection.abort("the connection was given up")
        raise


def _bound_unsent(made: socket.socket | None) -> None:
    # Windows has no such option, and a sandbox may refuse it: a slow line then ends a connection that sends much.
    if made is not None and hasattr(socket, "TCP_NOTSENT_LOWAT"):
        with suppress(OSError):
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, _UNSENT)


def with_remedy(reply: EngineError) -> EngineError:
    """The same with what to do about it, where the server has refused us for good."""
    code = str(reply).partition(" ")[0]
    return EngineRefused(f"{reply}; {_REMEDIES[code]}") if code in _REMEDIES else reply


def log_in(address: Address, name: str) -> tuple[Command, ...]:
    login: Command = ()
    if address.password is not None:
        login = ("AUTH", address.username or "default", address.password)
    hello: Command = ("HELLO", 3, *login, "SETNAME", name)
    return (hello, ("SELECT", address.database)) if address.database else (hello,)
