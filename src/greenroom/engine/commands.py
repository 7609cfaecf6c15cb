"""What is sent to a server, over which of its connections, and what is called with the replies."""

from __future__ import annotations

import asyncio
import enum
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

Command = tuple[str | bytes | int, ...]
"""The words of a command."""
Hook = Callable[[list[Any], Any], None]
"""Called in the socket's reader with the replies to commands issued together, and the source that they came from.

What a hook finds it keeps itself: it adds nothing to the list.
"""


class ReadTogether(NamedTuple):
    """Commands that one server was sent together.

    Arguments:
        numbers: their places among those that were given.
        replies: None where no connection could be asked at once.
    """

    numbers: Sequence[int]
    replies: asyncio.Future[list[Any]] | None

    def abandon(self) -> None:
        """Nobody looks any more at how they end."""
        if self.replies is not None:
            self.replies.cancel()


Ask = Callable[[tuple[Command, ...]], list[Any] | None]
"""Asks a server in the calling thread; see `Direct.ask`."""


class Channel(enum.Enum):
    """Which of a node's two connections carries a command."""

    TRACKED = "tracked"
    """Reads and writes of cached keys: one connection for both, so that a process sees its own writes."""
    PLAIN = "plain"
    """Everything that no near cache and no waiter depends on."""

    # docs/decisions/0009-channel-enum-uses-the-object-hash.md
    __hash__ = object.__hash__  # an Enum's own is a Python function, and every command looks its channel up
