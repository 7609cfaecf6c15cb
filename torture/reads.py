"""Where a read was answered from."""

from __future__ import annotations

from typing import Any

from greenroom.caching import Cache, Outcome
from greenroom.caching.invalidation import Backing
from greenroom.caching.near import Entry
from torture.history import How, now


class Before:
    """What this process has of a key the moment before a read begins; tells afterwards where the answer came from."""

    def __init__(self, backing: Backing, cache: Cache[Any], key: str) -> None:
        self.entry: Entry | None = backing.near.get(key, now())
        self.flying = cache._flights.find(key) is not None

    def how(self, outcome: Outcome, entry: Entry | None) -> How:
        """Where a read was answered from."""
        if outcome is Outcome.BYPASSED:
            return "bypassed"
        if self.entry is not None and entry is self.entry:
            return "near"
        return "joined" if self.flying else "server"
