"""A tracked connection without the engine: what a server pushes, and where among the replies."""

from __future__ import annotations

import socket
from typing import Any

import hiredis

from tests.support.real_servers import Server

Item = tuple[str, Any]
"""`("reply", value)` or `("push", keys)`; keys is None after a flush."""


class Tracked:
    """A blocking RESP3 connection with tracking on, as the engine's; `seen` keeps the order of the wire.

    Arguments:
        options: after `CLIENT TRACKING ON`; none, as the engine has it.
    """

    def __init__(self, server: Server, *options: str) -> None:
        self._socket = socket.create_connection(("127.0.0.1", server.port), timeout=10)
        self._reader = hiredis.Reader(notEnoughData=Ellipsis)
        self.seen: list[Item] = []
        self("HELLO", 3)
        self("CLIENT", "TRACKING", "ON", *options)
        self.seen.clear()

    def __call__(self, *command: str | bytes | int) -> Any:
        """Send a command and return its reply; an error reply is returned, not raised."""
        return self.together(command)[0]

    def together(self, *commands: tuple[str | bytes | int, ...]) -> list[Any]:
        """Send commands in one write and return their replies."""
        self.send(*commands)
        return self.receive(len(commands))

    def send(self, *commands: tuple[str | bytes | int, ...]) -> None:
        """Send commands in one write; `receive` their replies."""
        self._socket.sendall(b"".join(hiredis.pack_command(one) for one in commands))  # type: ignore[arg-type]

    def receive(self, number: int) -> list[Any]:
        """The next so many replies."""
        replies: list[Any] = []
        while len(replies) < number:
            kind, value = self._next()
            if kind == "reply":
                replies.append(value)
        return replies

    def pushed(self) -> list[Any]:
        """The keys pushed since the last call; a write that was answered elsewhere has been pushed before this PING."""
        self("PING")
        keys = [value for kind, value in self.seen if kind == "push"]
        self.seen.clear()
        return keys

    def next_push(self) -> Any:
        """Wait for a push that comes by itself."""
        while True:
            kind, value = self._next()
            if kind == "push":
                return value

    def _next(self) -> Item:
        while (reply := self._reader.gets()) is Ellipsis:
            data = self._socket.recv(65536)
            if not data:
                raise ConnectionError("the server closed the connection")
            self._reader.feed(data)
        if type(reply) is hiredis.PushNotification:
            assert reply[0] == b"invalidate"
            item: Item = ("push", reply[1])
        else:
            item = ("reply", reply)
        self.seen.append(item)
        return item

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()
