"""Judges how long things take, what they fail with, and how often the record is read. What is promised:

- *A read* takes no longer than the loads of its key that it meets, and 1 s besides where somebody who loads has gone,
  or the server. Where all is well it takes next to nothing besides.
- *A call about a session* takes half a second at most.
- *A read fails* because a load of its key has failed at most a second before; for another reason one in a hundred. Of
  ten reads one may fail, where two loads in a hundred do.
- *The record is read* once for each invalidation, refresh or failure, by one process for all; and by one that cannot
  ask the server. So where all is well no read is answered without the server.

Time in which a process did not run does not count: the machine is shared.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TypeVar

from torture.checker import Violation
from torture.history import DRIVER, Drop, Event, Failed, Load, Read, Stood
from torture.session_history import BEGUN, Answer, Begun, Changed, Ended, Looked, Rotated
from torture.trouble import MARGIN, Trouble

E = TypeVar("E", bound=Event)

PROMPT = 0.5 + MARGIN
"""Seconds of a read besides loads, where all is well: far more than it takes, and far less than a lease lives."""
LATE = 1.0 + 2 * MARGIN
"""Seconds of a read besides loads, where somebody who loads has gone, or the server."""
SESSION = 0.5 + MARGIN
"""Seconds of a call about one session."""
BACKOFF = 1.0
"""Seconds for which a load that failed is not repeated, and its failure told."""
OVERLOADED = 0.01
"""The share of reads that may be refused."""
FAILED = 0.1
"""The share of reads that may fail: each load that fails is told to all who ask for a second."""
_WINDOW = 0.5
"""Seconds in which the loads of one key are counted."""
_CAUSED = frozenset({"LoadFailed", "LoadTimeout", "RecordIsDownError"})

Span = tuple[float, float]


def check_bounds(history: Iterable[Event]) -> list[Violation]:
    """Everything in a history that took too long, failed for no reason, or was loaded too often."""
    return _Bounds(list(history)).violations()


class _Bounds:
    def __init__(self, history: list[Event]) -> None:
        self._trouble = Trouble(history)

        def of(kind: type[E]) -> list[E]:
            return sorted((one for one in history if isinstance(one, kind)), key=lambda one: one.began)

        self._reads, self._failed = of(Read), of(Failed)
        self._calls: list[Event] = [*of(Begun), *of(Rotated), *of(Changed), *of(Ended), *of(Looked), *of(Answer)]
        self._stood: defaultdict[int, list[Span]] = defaultdict(list)
        for stood in of(Stood):
            self._stood[stood.process].append((stood.began, stood.ended))
        self._loads: defaultdict[str, list[Load]] = defaultdict(list)
        for load in of(Load):
            self._loads[load.key].append(load)
        self._drops: defaultdict[str, list[Drop]] = defaultdict(list)
        for drop in of(Drop):
            self._drops[drop.key].append(drop)

    def violations(self) -> list[Violation]:
        asked: list[Read | Failed] = [*self._reads, *self._failed]
        found = [wrong for one in asked if (wrong := self._slow(one)) is not None]
        found += [wrong for one in self._calls if (wrong := self._slow_call(one)) is not None]
        found += [wrong for one in self._failed if (wrong := self._uncaused(one)) is not None]
        found += self._refused()
        found += [wrong for one in self._reads if (wrong := self._bypassed(one)) is not None]
        found += [wrong for key in self._loads for wrong in self._loaded_too_often(key)]
        return [replace(one, of_speed=True) for one in found]

    # Time ------------------------------------------------------------------------------------------

    def _slow(self, read: Read | Failed) -> Violation | None:
        if read.ended - read.began <= PROMPT:
            return None  # most do not, and a round has thousands
        spans = [
            span for key in (read.key, *read.others) for load in self._loads.get(key, ()) for span in self._ran(load)
        ]
        took = self._besides(read, spans)
        bound = LATE if self._trouble.before(read.began, read.ended) else PROMPT
        return (
            Violation(read, f"it took {took:.2f} s besides loads, and may take {bound:.2f}") if took > bound else None
        )

    def _slow_call(self, call: Event) -> Violation | None:
        if getattr(call, "answer", "") == BEGUN:
            return None
        if isinstance(call, Answer) and call.call == "of_user":
            return None  # many calls
        took = self._besides(call, [])
        return Violation(call, f"it took {took:.2f} s, and may take {SESSION:.2f}") if took > SESSION else None

    def _besides(self, event: Event, spans: Sequence[Span]) -> float:
        """Seconds of an event outside of some spans, and of those in which its process or ours did not run."""
        within = [*spans, *self._stood[event.process], *self._stood[DRIVER]]
        return event.ended - event.began - _covered(event.began, event.ended, within)

    def _ran(self, load: Load) -> list[Span]:
        """A load without the time in which its process did not run: nobody need wait for that."""
        spans, began = [], load.began
        for start, end in self._stood[load.process]:
            if start < load.ended and end > began:
                spans.append((began, max(began, start)))
                began = min(end, load.ended)
        return [*spans, (began, load.ended)]

    # Failures --------------------------------------------------------------------------------------

    def _uncaused(self, failed: Failed) -> Violation | None:
        if failed.error not in _CAUSED:
            return None
        for key in (failed.key, *failed.others):
            for load in self._loads.get(key, ()):
                if load.error and load.began <= failed.ended and load.ended + BACKOFF + MARGIN >= failed.began:
                    return None
        return Violation(failed, f"a read fails with {failed.error} and no load of it has")

    def _refused(self) -> list[Violation]:
        refused = [one for one in self._failed if one.error not in _CAUSED]
        return [*self._share(refused, OVERLOADED, "were refused"), *self._share(self._failed, FAILED, "failed")]

    def _share(self, some: Sequence[Failed], share: float, what: str) -> list[Violation]:
        most = max(10, share * (len(self._reads) + len(self._failed)))
        return [Violation(some[-1], f"{len(some)} reads {what}, of {most:.0f} at most")] if len(some) > most else []

    # The record ------------------------------------------------------------------------------------

    def _bypassed(self, read: Read) -> Violation | None:
        if read.how != "bypassed" or self._trouble.before(read.began, read.ended):
            return None
        return Violation(read, "it is answered without the server, which was well")

    def _loaded_too_often(self, key: str) -> list[Violation]:
        loads, drops = self._loads[key], self._drops[key]
        for number, first in enumerate(loads):
            since, until = first.began - _WINDOW, first.began + _WINDOW
            within = loads[number : bisect_right(loads, until, key=lambda one: one.began)]
            if len(within) <= 2 or self._trouble.before(first.began, until):
                continue
            reasons = sum(one.ended >= since and one.began <= until for one in drops)
            reasons = max(1, reasons) + sum(bool(one.error) for one in within)
            # Of each reason one load that it comes too late for, and one after it; the first may be for an earlier one.
            if len(within) > 1 + 2 * reasons:
                return [Violation(within[-1], f"{len(within)} loads in {_WINDOW} s after {reasons} changes")]
        return []


def _covered(began: float, ended: float, spans: Sequence[Span]) -> float:
    """Seconds between two moments that some spans cover together."""
    covered, reached = 0.0, began
    for start, end in sorted(spans):
        if end > reached and start < ended:
            covered += min(end, ended) - max(start, reached)
            reached = min(end, ended)
    return covered
