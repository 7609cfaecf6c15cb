"""Callbacks that do nothing: the defaults where a callback is optional."""

from __future__ import annotations


def nothing(*_: object) -> None:
    """Do nothing."""


async def nothing_async(*_: object) -> None:
    """Do nothing, where a coroutine is awaited."""
