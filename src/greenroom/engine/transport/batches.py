"""The batches of one connection that instruments are told of: what left in one write, until it is answered."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Sequence

from greenroom.engine.address import Address
from greenroom.observe import EngineBatch


class Batches:
    """Those that were written and not yet answered.

    Arguments:
        node: what the server goes by.
        address: that of the server itself.
    """

    def __init__(self, node: str, address: Address) -> None:
        self._node = node
        self._host: str
        self._port: int | None
        self._host, self._port = (address.path, None) if address.path is not None else address.hosts[0]
        self._sent: deque[tuple[int, Sequence[str], int, float]] = deque()

    def sent(self, commands: Sequence[str], issued: int) -> None:
        """A batch is being written.

        Arguments:
            issued: commands issued on the connection by then.
        """
        self._sent.append((issued, commands, time.time_ns(), time.monotonic()))

    def answered(self, answered: int) -> Iterator[EngineBatch]:
        """The batches that are whole, given the number of commands answered on the connection."""
        while self._sent and self._sent[0][0] <= answered:
            yield self._next(None)

    def lost(self, reason: str) -> Iterator[EngineBatch]:
        """All that are left: the connection has ended."""
        while self._sent:
            yield self._next(reason)

    def _next(self, error: str | None) -> EngineBatch:
        _, commands, began, sent = self._sent.popleft()
        return EngineBatch(self._node, self._host, self._port, commands, began, time.monotonic() - sent, error)
