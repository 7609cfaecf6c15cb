"""The generation of a keyspace: all its values are dropped at once, and nobody looks for their keys.

A generation is `<server time in µs>-<random digits>`. A drop begins a greater one. For as long as a value from before
the drop can live, what is stored carries a mark: the generation that was known when its *lease* was asked for. A value
with another mark, or none, is loaded anew. After that time reads ask for no mark, and cost what they have always cost.

Prevents, of a drop that deletes by pattern:

    the keys are listed · a load that began before the drop stores the old value under a key that was not there · it is
    listed by nobody

How processes hear of it from the servers is in `keyspace_drops`.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import Any

from greenroom.clock import Clock
from greenroom.keyspace import Keyspace
from greenroom.keyspace.derived_keys import derived_key

SLACK = 61.0
"""Seconds beyond a value's lifetime for which marks are looked at: a lease's life, and a minute for the clocks and for
loads under way."""
_FORM = re.compile(r"[0-9]{1,16}-[0-9a-f]+")


class KeyspaceGeneration:
    """The generation of one keyspace, as this process knows it.

    Arguments:
        keyspace: with the room's prefix.
        tags: texts whose slots lie on all nodes of a cluster.
        forget: drops in this process all that it has of the keyspace.
    """

    __slots__ = (
        "_checked_until",
        "_clock",
        "_forget",
        "_marked_until",
        "_window",
        "asking",
        "checking",
        "current",
        "names",
        "pending",
        "truth",
    )

    def __init__(
        self, keyspace: Keyspace[Any], tags: tuple[str, ...], clock: Clock, forget: Callable[[], None]
    ) -> None:
        prefix, pattern = keyspace.pattern.prefix, keyspace.pattern.prefix + keyspace.pattern.text
        self.truth = derived_key(prefix, "generation", pattern)
        # docs/decisions/0087-news-of-a-drop-are-tracked-keys.md
        copies = (f"{derived_key(prefix, 'generation', tag)}:{pattern}" for tag in tags)
        self.names = (self.truth, *copies)
        """The truth, and its copies."""
        self._clock = clock
        self._forget = forget
        self._window = keyspace.lifetime.ttl_ms / 1000 + SLACK
        self._checked_until = self._marked_until = 0.0
        self.current = ""
        """The greatest that was seen; empty while the keyspace was never dropped."""
        self.checking = False
        """Whether reads may have to look at marks: what a read looks at, so a plain attribute."""
        self.pending: set[object] = set()
        """Drops called here that have begun no generation yet: what is on the server must not be read."""
        self.asking: set[asyncio.Future[None]] = set()
        """Those of them whose server is being asked."""

    def adopt(self, generation: str, age: float = 0.0) -> None:
        """Hear of a generation; nothing happens where a greater is known.

        Arguments:
            age: seconds since it began.
        """
        if not _FORM.fullmatch(generation) or moment_of(generation) <= moment_of(self.current):
            return
        self.current = generation
        left = self._clock.monotonic() - max(0.0, age)
        self._checked_until = left + self._window
        # Twice as long: who believes for longer that marks are needed must find them.
        self._marked_until = left + 2 * self._window
        self.checking = True
        self._forget()

    def checks(self) -> bool:
        """Whether a value needs the mark of the current generation."""
        if self.checking and self._clock.monotonic() >= self._checked_until:
            self.checking = False
        return self.checking

    def marks(self) -> bool:
        """Whether what is stored is marked."""
        return bool(self.current) and self._clock.monotonic() < self._marked_until

    def begin(self) -> object:
        """A drop is called here, and counts from now on; returns its name."""
        drop = object()
        self.pending.add(drop)
        self._forget()
        return drop

    async def settled(self) -> bool:
        """Whether the server may be read from, once the drops that are being sent have been answered."""
        while self.asking:
            await asyncio.wait(set(self.asking))
        return not self.pending


def moment_of(generation: str) -> int:
    """When a generation began, in µs of its server's time; 0 for none."""
    return int(generation.partition("-")[0]) if generation[:1].isdigit() else 0
