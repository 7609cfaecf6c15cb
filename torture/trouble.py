"""When something was wrong with the system, by our own doing or the machine's: what fails then has a cause."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from itertools import accumulate

from torture.history import Emptied, Event, Fault, Killed, Refused, RolledBack, Stood, Unsettled

RECOVERY = 3.0
"""Seconds after a fault in which what fails may fail for it: the pause between attempts, a handshake, a call."""
MARGIN = 0.25
"""Seconds allowed for the machine: a bound that a timer keeps is kept when the timer's process gets to run."""
_KINDS = (Fault, Stood, RolledBack, Unsettled, Refused, Emptied, Killed)


class Trouble:
    """The faults in a history, whoever they concern."""

    def __init__(self, history: Iterable[Event]) -> None:
        faults = sorted((one.began, one.ended) for one in history if isinstance(one, _KINDS))
        self._begins = [began for began, _ in faults]
        self._latest = list(accumulate((ended for _, ended in faults), max))  # of all ends up to this one

    def before(self, began: float, ended: float) -> bool:
        """Whether something was wrong in between, or shortly before."""
        last = bisect_right(self._begins, ended)
        return bool(last) and self._latest[last - 1] >= began - RECOVERY
