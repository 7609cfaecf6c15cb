"""Keys dropped together: on one server by one command, on a cluster by one for each, in one write to each node."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

from greenroom.engine.commands import Command
from greenroom.engine.protocol.errors import NotHere
from greenroom.errors import EngineError

Answered = Callable[[Sequence[str], list[Any], Any], None]
"""Called in the socket's reader with keys that went together and the replies to them."""


class Names(Protocol):
    """What is dropped for a key."""

    def __call__(self, key: str) -> tuple[str, ...]:
        """Itself and its companions, all of one slot."""

    def together(self, keys: Sequence[str]) -> Command:
        """The command that drops many keys of one server with their companions; it has one reply."""


class Queued(NamedTuple):
    """Keys whose server was asked, or could not be."""

    keys: Sequence[str]
    replies: asyncio.Future[list[Any]] | EngineError


def together(keys: Sequence[str], names: Names) -> tuple[Command, ...]:
    """One command for all."""
    return (names.together(keys),)


def each(keys: Sequence[str], names: Callable[[str], tuple[str, ...]]) -> tuple[Command, ...]:
    """One for each: a server of a cluster takes none that concerns several slots."""
    return tuple(("DEL", *names(key)) for key in keys)


def refused(keys: Sequence[str], replies: Sequence[Any]) -> dict[str, EngineError]:
    """Which of the keys were not dropped, and why: of one reply for all, or of one for each.

    One key may have several, of a slot that is on its way.
    """
    errors = [reply for reply in replies if isinstance(reply, EngineError)]
    if not errors:
        return {}
    if len(keys) == 1 or len(replies) == 1:
        error = next((error for error in errors if not isinstance(error, NotHere)), errors[0])
        return dict.fromkeys(keys, error)
    return {key: reply for key, reply in zip(keys, replies, strict=True) if isinstance(reply, EngineError)}
