"""Rate limits as threads use them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from greenroom import rate_limit
from greenroom.rate_limit import Bound

if TYPE_CHECKING:
    from greenroom.sync.client import Greenroom


class RateLimit:
    """Attempts of one kind, bounded for each name: `if wait := limit.count(user_id): ...` answer 429.

    Every call is that of `greenroom.RateLimit` without `await`, and raises what that one raises.

    Arguments:
        bound: how many, in what time.
    """

    def __init__(self, room: Greenroom, kind: str, bound: Bound) -> None:
        self._room = room
        self._kind = kind
        self.bound = bound
        """How many, in what time."""

    def count(self, name: str) -> float:
        """Count an attempt, unless it may not be made: returns 0, or the seconds until one may be."""
        return self._room.run(lambda _: self._limit().count(name))

    def take_back(self, name: str) -> None:
        """Uncount the last attempt, which was not made after all."""
        return self._room.run(lambda _: self._limit().take_back(name))

    def forget(self, name: str) -> None:
        """Forget the attempts of a name."""
        return self._room.run(lambda _: self._limit().forget(name))

    def _limit(self) -> rate_limit.RateLimit:
        # Asked for each time: in a forked child it is another room's.
        return self._room.room.rate_limit(self._kind, self.bound.most, per=self.bound.window)
