"""What becomes of commands whose slot is on its way from one node to another."""

from __future__ import annotations

from typing import Any

from greenroom.engine.protocol.wire import Command, Hook


def asking(commands: tuple[Command, ...]) -> tuple[Command, ...]:
    """Commands for the node that an ASK names: it takes each only right after an ASKING of its own."""
    return tuple(one for command in commands for one in (("ASKING",), command))


def unasked(replies: list[Any], number: int) -> list[Any]:
    """The replies to `number` commands among those to `asking`, and what a hook has appended."""
    return replies[1 : 2 * number : 2] + replies[2 * number :]


def hook_of(hook: Hook | None, number: int) -> Hook | None:
    """A hook that is given the replies to `number` commands that were sent by `asking`."""
    if hook is None:
        return None

    def unwrapped(replies: list[Any], source: Any) -> None:
        own = unasked(replies, number)
        hook(own, source)
        replies.extend(own[number:])

    return unwrapped


def key_by_key(commands: tuple[Command, ...]) -> tuple[Command, ...]:
    """The same with every DEL of several keys as several, in their order.

    While some of its keys have moved and others have not, neither node carries a command of several keys out.
    """
    return tuple(
        one
        for command in commands
        for one in ([("DEL", key) for key in command[1:]] if command[0] == "DEL" else [command])
    )
