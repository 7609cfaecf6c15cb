"""Judges a history. What is promised, and so what is asserted:

A read that begins after the invalidation of a change has returned does not answer with what the change replaced. How
long after is told by where the answer came from; `P` is the reading process, `I` the invalidation:

| answered from | in the process that invalidated | in any other process |
|---|---|---|
| the server, or a load that began after the read | 0, from the call on | 0 |
| P's near cache | 0, from the call on | until P has read I's push, at most 0.75 s |
| work that was under way in P when the read began | 0, from the call on | until P has read I's push, at most 0.75 s |
| a load without the server, while P cannot ask it | 0, from the call on | 1 s, and the time that the load took |

- *Until the push is read*: pushes and replies come in one order on one connection. So P has read I's push when it has
  had the reply to any command that it sent after I returned (`Contact`). A silent connection hides pushes: after 0.75 s
  without a byte nothing near is served, and the connection is closed, with all that is under way on it.
- *The members of a group* are dropped by asking the server who they are. For them 0 counts from the call's end, whether
  it returned or raised, and for loads without the server the process that invalidated has the bound of the others.
- *An invalidation that raised* is kept and sent on the next connection of its process, before anything is read on that
  (`Served`). For other processes it counts as returned then; in its own nothing changes: 0 from the call on.
- *A caller who was cancelled* changes nothing: for other processes the invalidation counts from when its process has
  sent it on a new connection, or has been answered anything 1 s later; for its own, from the call on.
- *A keyspace that was dropped* is so in its own process from the call on. Another hears of it by a push, whatever it is
  answered from: the 0.75 s above count from 0.75 s after the return; on a cluster also from when P may have asked again
  who owns what.
- *A process that was killed* between its commit and the invalidation leaves its outbox row (`Write.outbox`). Where
  nothing else fails, the invalidation counts 2 s later, for all.
- *While the server answers and refuses writes* (`Refused`), the call is repeated for a while: its own process then
  counts from its end, whether it returned or raised.
- *A server that comes back with older data* (`RolledBack`) may serve what was dropped before, until every process has
  sent its invalidations of the last 30 s again. The process that invalidated a key itself never sees it.
- *On a cluster*, while slots get another owner (`Unsettled`) and until P has asked again who owns what (`SURVEYED`),
  nothing tells P of a push that the new owner sends: its bounds are longer by that. An invalidation that raised may be
  of one node while others serve: it binds its own process only. What has come back with older data may be a group,
  while its keys are on other nodes: for these 0 counts from when every process has told the new owner.
- *Where replicas are read from*, what comes from a server or near may be 0.75 s behind in any other process. In the one
  that invalidated nothing changes: 0 from the call on.
- *Time in which P did not run* (`Stood`) does not count where P's own timers are the bound: for work under way and for
  loads without the server. For near hits it does: their age is measured when they are served.

Besides: a version is never seen before it was written, an absence only where there was one; a read fails only with
errors that reads may have; and when all is quiet, everything that is stored anywhere is what the record holds (`Held`).
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import inf
from typing import TypeVar

from torture.drops import Drops, left_behind
from torture.history import (
    Contact,
    Crash,
    Drop,
    Event,
    Failed,
    Final,
    Held,
    Killed,
    Read,
    Refused,
    RolledBack,
    Served,
    Stood,
    Unsettled,
    Write,
)
from torture.plan import SURVEY
from torture.trouble import MARGIN, Trouble

E = TypeVar("E", bound=Event)

SILENCE = 0.75
"""Seconds for which a push can stay unread."""
KEPT = 1.0
"""Seconds for which a value loaded without the server is served."""
SURVEYED = 1.5 * SURVEY + 1.0
"""Seconds after which a process has asked a cluster again who owns what, and been answered."""
GIVEN_UP = 1.0
"""Seconds after which an invalidation whose caller was cancelled has been sent, or its connection ended."""
ALLOWED = frozenset({"LoadFailed", "LoadTimeout", "Overloaded", "RecordIsDownError"})
"""What a read may fail with; the last is what the loaders raise on purpose."""


@dataclass(frozen=True)
class Violation:
    """What should not have happened: the event, why it is wrong, and the invalidation that it contradicts, if any."""

    event: Event
    reason: str
    drop: Drop | None = None
    of_speed: bool = False
    """Whether a machine that is slow enough breaks it too: a call's time, or a call that failed though all was well."""


def check(history: Iterable[Event], loader: float, *, cluster: bool = False, replicas: bool = False) -> list[Violation]:
    """Everything in a history that breaks a promise.

    Arguments:
        history: the events of all processes, in any order.
        loader: seconds that a load can take at most.
        cluster: whether it was one.
        replicas: whether values were read at replicas.
    """
    return _History(history, loader, cluster, replicas).violations()


class _History:
    def __init__(self, history: Iterable[Event], loader: float, cluster: bool, replicas: bool) -> None:
        self._cluster = cluster
        self._replicas = replicas
        by_type: defaultdict[type[Event], list[Event]] = defaultdict(list)
        events = list(history)
        for event in events:
            by_type[type(event)].append(event)

        def of(kind: type[E]) -> list[E]:
            return sorted((e for e in by_type[kind] if isinstance(e, kind)), key=lambda e: e.began)

        self._without_server = KEPT + loader + MARGIN
        self._reads, self._failed, self._crashes, self._finals = of(Read), of(Failed), of(Crash), of(Final)
        self._writes: defaultdict[str, defaultdict[int, list[Write]]] = defaultdict(lambda: defaultdict(list))
        for write in of(Write):
            self._writes[write.key][write.version].append(write)
        self._held = {one.key: one.version for one in of(Held)}
        self._served, self._contacts = _by_process(of(Served)), _by_process(of(Contact))
        self._stood = _by_process(of(Stood))
        self._everyone: defaultdict[str, Drops] = defaultdict(Drops)
        self._own: defaultdict[tuple[str, int], Drops] = defaultdict(Drops)
        refused, self._unsettled = of(Refused), of(Unsettled)
        drops = of(Drop)
        for drop in (*drops, *left_behind(of(Write), drops, of(Killed), Trouble(events))):
            binds = self._returned(drop) if drop.acknowledged else self._sent(drop)
            self._everyone[drop.key].all.append((binds, drop))
            self._own[drop.key, drop.process].all.append((self._binds_own(drop, binds, refused), drop))
        for one in (*self._everyone.values(), *self._own.values()):
            one.sort()
        self._rollbacks = [(back, self._cured(back)) for back in of(RolledBack)]

    def violations(self) -> list[Violation]:
        found = [violation for read in self._reads if (violation := self._judged(read)) is not None]
        found += [Violation(e, f"a read fails with {e.error}") for e in self._failed if e.error not in ALLOWED]
        found += [Violation(e, "nobody expects this exception") for e in self._crashes]
        return found + [violation for final in self._finals if (violation := self._stayed(final)) is not None]

    # When an invalidation binds --------------------------------------------------------------------

    def _returned(self, drop: Drop) -> float:
        """When one that returned binds every reader of the server."""
        if not drop.whole:
            return drop.ended
        return drop.ended + SILENCE + MARGIN + (SURVEYED if self._cluster else 0.0)

    def _sent(self, drop: Drop) -> float:
        """When one that raised has been sent again."""
        if self._cluster:
            return inf
        sent = _first_since(self._served.get(drop.process, []), drop.began)
        if drop.cancelled:
            sent = min(sent, _first_since(self._contacts.get(drop.process, []), drop.ended + GIVEN_UP))
        return sent

    def _binds_own(self, drop: Drop, binds: float, refused: list[Refused]) -> float:
        """From when on an invalidation binds its own process."""
        if drop.group and drop.cancelled:
            return binds  # who was in the group is not known yet
        at_once = not drop.group and not any(_meet(drop, one) for one in refused)
        return drop.began if at_once else drop.ended

    def _cured(self, back: RolledBack) -> float:
        """When every process has sent its invalidations again to a server that came back with older data."""
        first = (
            min((one.ended for one in served if one.began > back.began and one.node == back.node), default=inf)
            for served in self._served.values()
        )
        return max(first, default=back.ended)

    def _since(self, read: Read) -> float:
        """Only invalidations made after this moment bind a read that may have met older data."""
        met = (
            cured if self._cluster else back.ended
            for back, cured in self._rollbacks
            if read.ended >= back.began and read.began <= cured + self._without_server
        )
        return max(met, default=-inf)

    def _until(self, read: Read) -> float:
        """Only invalidations that returned before this moment bind a read in another process."""
        if read.how == "server" and not self._replicas:
            return read.began
        if read.how == "bypassed":
            return self._ran(read.process, read.began, self._without_server)
        if any(one.began <= read.ended and read.began <= one.ended + SURVEYED for one in self._unsettled):
            return self._ran(read.process, read.began, SILENCE + MARGIN + SURVEYED)
        if self._replicas and read.how in ("server", "near"):
            return read.began - SILENCE - MARGIN
        contacts = self._contacts.get(read.process, [])
        last = bisect_right(contacts, read.began, key=lambda one: one.ended)
        contact = contacts[last - 1].began if last else -inf
        if read.how == "near":
            return max(contact, read.began - SILENCE - MARGIN)
        return max(contact, self._ran(read.process, read.began, SILENCE + MARGIN))

    def _ran(self, process: int, moment: float, seconds: float) -> float:
        """The moment since which the process has run for so many seconds."""
        start = moment - seconds
        stood = self._stood.get(process, [])
        for pause in reversed(stood[: bisect_left(stood, moment, key=lambda one: one.began)]):
            if pause.ended <= start:
                break
            start -= min(pause.ended, moment) - pause.began
        return start

    # Judgement -------------------------------------------------------------------------------------

    def _judged(self, read: Read) -> Violation | None:
        seen = self._seen(read)
        if seen is None:
            return Violation(read, "it answers with what was never written")
        since = self._since(read)
        drop = self._everyone[read.key].newest(self._until(read), since)
        if drop is not None and seen < drop.version:
            return Violation(
                read, f"it answers with version {seen} after that of version {drop.version} returned", drop
            )
        own = self._own_drop(read, since)
        if own is not None and seen < own.version:
            return Violation(read, f"it answers with version {seen}, but its own process dropped that", own)
        return None

    def _own_drop(self, read: Read, since: float) -> Drop | None:
        drops = self._own.get((read.key, read.process))
        if drops is None:
            return None
        group = drops.all[0][1].group
        if group and read.how == "bypassed":
            return None
        return drops.newest(read.began, since if group else -inf)

    def _seen(self, read: Read) -> int | None:
        """The version that a read has answered with; of an absence the newest that there was."""
        written = self._writes[read.key]
        if read.version is None:
            absences = (v for v, ones in written.items() if any(o.began <= read.ended and not o.present for o in ones))
            return max(absences, default=None)
        there = any(one.present and one.began <= read.ended for one in written.get(read.version, ()))
        return read.version if there else None

    def _stayed(self, final: Final) -> Violation | None:
        last = self._held.get(final.key, max(self._writes[final.key], default=0))
        present = any(one.present for one in self._writes[final.key].get(last, ()))
        if final.version == (last if present else None):
            return None
        return Violation(final, f"when all is quiet the record holds {f'version {last}' if present else 'nothing'}")


def _first_since(events: Sequence[Event], moment: float) -> float:
    """When the first of some events ended that began after a moment."""
    return min((one.ended for one in events[bisect_left(events, moment, key=lambda one: one.began) :]), default=inf)


def _by_process(events: list[E]) -> dict[int, list[E]]:
    found: defaultdict[int, list[E]] = defaultdict(list)
    for event in events:
        found[event.process].append(event)
    return found


def _meet(one: Event, other: Event) -> bool:
    return one.began <= other.ended and other.began <= one.ended
