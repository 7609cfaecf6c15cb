"""Redirection of commands whose slot moves: ASK and MOVED, the ASKING prefix, and the replies without it."""

from __future__ import annotations

from typing import Any

from greenroom.engine.commands import Command, Hook
from greenroom.engine.protocol.errors import Ask, NotNow


def on_its_way(reply: Any) -> bool:
    """Whether a reply tells that a slot is on its way to another node."""
    return isinstance(reply, Ask) or (isinstance(reply, NotNow) and reply.code == "TRYAGAIN")


def asking(commands: tuple[Command, ...]) -> tuple[Command, ...]:
    """Commands for the node that an ASK names: it takes each only right after an ASKING of its own."""
    return tuple(one for command in commands for one in (("ASKING",), command))


def unasked(replies: list[Any]) -> list[Any]:
    """The replies to commands among those to `asking`."""
    return replies[1::2]


def hook_of(hook: Hook | None) -> Hook | None:
    """A hook that is given the replies to commands that were sent by `asking`."""
    return None if hook is None else lambda replies, source: hook(unasked(replies), source)


def key_by_key(commands: tuple[Command, ...]) -> tuple[Command, ...]:
    """The same with every DEL of several keys as several, in their order.

    While some of its keys have moved and others have not, neither node carries a command of several keys out.
    """
    return tuple(
        one
        for command in commands
        for one in ([("DEL", key) for key in command[1:]] if command[0] == "DEL" else [command])
    )
