"""Invalidations, each with the moment from which it binds a reader; and those that others send for the dead."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field
from math import inf

from torture.history import Drop, Killed, Write
from torture.trouble import MARGIN, RECOVERY, Trouble

OUTBOX = 2.0 + 2 * MARGIN
"""Seconds after which what a killed process left in the outbox has been sent by another."""


@dataclass
class Drops:
    """The invalidations of one key, each with the moment from which it binds a reader."""

    all: list[tuple[float, Drop]] = field(default_factory=list)
    _newest: list[Drop] = field(default_factory=list)  # of all up to this one, the one of the newest version

    def sort(self) -> None:
        self.all.sort(key=lambda one: one[0])
        for _, drop in self.all:
            before = self._newest[-1] if self._newest else drop
            self._newest.append(drop if drop.version >= before.version else before)

    def newest(self, until: float, since: float) -> Drop | None:
        """Of those that bind before `until` and were made after `since`, that of the newest version."""
        end = bisect_left(self.all, until, key=lambda one: one[0])
        if since == -inf:
            return self._newest[end - 1] if end else None
        return max((drop for _, drop in self.all[:end] if drop.began > since), key=lambda d: d.version, default=None)


def left_behind(writes: list[Write], drops: list[Drop], kills: list[Killed], trouble: Trouble) -> list[Drop]:
    """The invalidations that others send for processes that were killed before they had sent them."""
    killed = {one.process: one for one in kills}
    done = {(one.process, one.key, one.version) for one in drops if one.acknowledged}
    found = []
    for write in writes:
        kill = killed.get(write.process)
        if kill is None or not write.outbox or (write.process, write.key, write.version) in done:
            continue
        # Where more fails than that one process, the outbox waits for the end of it.
        if not trouble.before(kill.ended + RECOVERY + 0.001, kill.ended + OUTBOX):
            found.append(Drop(write.process, kill.began, kill.ended + OUTBOX, write.key, write.version, True, False))
    return found
