"""The keys asked for lately, by their parts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from greenroom.keyspace.keyspace import Keyspace

_MAX = 20_000
"""Keys remembered; with more, all are forgotten and remembered anew."""
_LONGEST = 256
"""Characters of all parts together, above which a key is made each time.

Prevents: clients of a search send texts of 64 KB · their keys are short, for they have a digest · 20,000 of the texts
are remembered, which is more than a gigabyte."""


class RecentKeys:
    """Remembers the keys of one keyspace that were asked for lately: building one costs more than a near hit may.

    Threads may use one at a time or together: each step is one operation of a dictionary, and a key is made again from
    the same parts.
    """

    __slots__ = ("_make", "known")

    def __init__(self, keyspace: Keyspace[Any]) -> None:
        self.known: dict[object, str] = {}
        """Each key by its only part if that is a text, or else by its parts; for a reader that has no call to spare."""
        self._make = keyspace.key

    def key(self, args: tuple[object, ...], parts: Mapping[str, object]) -> str:
        """The key; see `Keyspace.key`."""
        # Exact types only: True and 1.0 equal 1, and neither is a page number.
        if len(args) == 1 and type(args[0]) is str and not parts:
            asked: object = args[0]
        elif parts and not args and all(type(part) is str or type(part) is int for part in parts.values()):
            asked = tuple(parts.items())
        elif len(args) != 1 and not parts and all(type(part) is str or type(part) is int for part in args):
            asked = args
        else:
            return self._make(*args, **parts)
        key = self.known.get(asked)
        if key is None:
            key = self._make(*args, **parts)
            if sum(len(part) for part in (*args, *parts.values()) if isinstance(part, str)) > _LONGEST:
                return key
            if len(self.known) >= _MAX:
                self.known.clear()
            self.known[asked] = key
        return key
