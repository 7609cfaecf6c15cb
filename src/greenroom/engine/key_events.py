"""Callers that wait for a key to change: woken by the engine's pushes, in the socket's reader.

A listener registers, then reads, then sleeps on its event or its own timer. The other way round: the key is read · it
changes, and the push finds nobody · the listener registers, and sleeps for ever.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from greenroom.engine.listener import KeyFilter, Listener, all_keys


class KeyEvents(Listener):
    """The events of one process, a listener of its engine.

    Arguments:
        owner: from the name that a push tells to the key that it is listened for by.
    """

    def __init__(self, owner: Callable[[str], str]) -> None:
        self._owner = owner
        self._events: dict[str, set[asyncio.Event]] = {}

    @contextmanager
    def listening(self, key: str) -> Iterator[asyncio.Event]:
        """An event that is set when the key, or a companion of it, was read here and has changed, or may have."""
        event = asyncio.Event()
        events = self._events.setdefault(key, set())
        events.add(event)
        try:
            yield event
        finally:
            events.discard(event)
            if not events and self._events.get(key) is events:
                del self._events[key]

    def keys_invalidated(self, name: bytes | None) -> None:
        """A push; None when everything may have changed."""
        if name is None:
            self.keys_lost(all_keys)
        elif self._events:
            for event in self._events.get(self._owner(name.decode("utf-8", "replace")), ()):
                event.set()

    def keys_lost(self, owns: KeyFilter) -> None:
        """Changes of these keys may have been missed."""
        for key, events in self._events.items():
            if owns(key):
                for event in events:
                    event.set()
