"""Who waits for a key to change: woken by the engine's pushes, in the socket's reader.

A listener registers, then reads, then sleeps on its bell or its own timer. The other way round: the key is read · it
changes, and the push finds nobody · the listener registers, and sleeps for ever.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from greenroom.engine.listener import KeyFilter, Listener, all_keys


class KeyEvents(Listener):
    """The bells of one process, a listener of its engine.

    Arguments:
        owner: from the name that a push tells to the key that it is listened for by.
    """

    def __init__(self, owner: Callable[[str], str]) -> None:
        self._owner = owner
        self._bells: dict[str, set[asyncio.Event]] = {}

    @contextmanager
    def listening(self, key: str) -> Iterator[asyncio.Event]:
        """A bell that rings when the key, or a companion of it, was read here and has changed, or may have."""
        bell = asyncio.Event()
        bells = self._bells.setdefault(key, set())
        bells.add(bell)
        try:
            yield bell
        finally:
            bells.discard(bell)
            if not bells and self._bells.get(key) is bells:
                del self._bells[key]

    def keys_invalidated(self, name: bytes | None) -> None:
        """A push; None when everything may have changed."""
        if name is None:
            self.keys_lost(all_keys)
        elif self._bells:
            for bell in self._bells.get(self._owner(name.decode("utf-8", "replace")), ()):
                bell.set()

    def keys_lost(self, owns: KeyFilter) -> None:
        """Changes of these keys may have been missed."""
        for key, bells in self._bells.items():
            if owns(key):
                for bell in bells:
                    bell.set()
