"""What stands for a callback that nobody has given."""

from __future__ import annotations


def nothing(*_: object) -> None:
    """Do nothing."""


async def nothing_async(*_: object) -> None:
    """Do nothing, where a coroutine is awaited."""
