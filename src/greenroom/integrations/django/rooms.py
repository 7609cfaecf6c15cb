"""The one room of a process, made of the project's settings. It opens itself at the first call, after a fork anew."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from threading import RLock
from typing import Any, TypeVar

from django.db import connections

from greenroom.integrations.django import settings
from greenroom.sync import Greenroom

T = TypeVar("T")


class _Process:
    """What a process has one of, by its name."""

    def __init__(self) -> None:
        self.lock = RLock()
        self.made: dict[object, Any] = {}


_process = _Process()


def once(name: object, make: Callable[[], T]) -> T:
    """The one thing of a name in this process and its forked children; made when it is first asked for."""
    made = _process.made
    if name not in made:
        with _process.lock:
            if name not in made:
                made[name] = make()
    thing: T = made[name]
    return thing


async def aonce(name: object, make: Callable[[], T]) -> T:
    """As `once`, where an event loop runs: what an open room has is declared in its own loop, which is waited for."""
    if name not in _process.made:
        return await asyncio.to_thread(once, name, make)
    return once(name, make)


def room() -> Greenroom:
    """The room of this process.

    Raises:
        InvalidInput: naming the setting that is wrong.
    """
    return once("room", new)


def new() -> Greenroom:
    """A room of the settings as they are.

    Raises:
        InvalidInput: naming the setting that is wrong.
    """
    given = settings.read()
    return Greenroom(
        given.url,
        prefix=given.prefix,
        data_dir=given.data_dir,
        sessions=False,  # Django's have keys of their own: see `sessions`
        in_transaction=in_transaction,
        after_background_load=connections.close_all,
    )


def in_transaction() -> bool:
    """Whether this thread is inside `atomic()` on any database, or after `set_autocommit(False)`."""
    return any(
        one.in_atomic_block or (one.connection is not None and not one.autocommit)
        for one in connections.all(initialized_only=True)
    )


def _forked() -> None:
    """In a forked child: a thread of the parent may have held the lock. The room begins anew by itself."""
    _process.lock = RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
