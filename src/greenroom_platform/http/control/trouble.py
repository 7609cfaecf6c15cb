"""What is ill, since when, what it costs, and the page of the manual: the words of `greenroom status`, and more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

import msgspec

from greenroom.findings import Finding, Severity, error, warning
from greenroom.inspection.exposition import MetricSample
from greenroom.inspection.status import ERRORS, READS, Heard, ServerLine, keyspace_lines, sentence, verdict
from greenroom_platform.definitions_document import KEYSPACES
from greenroom_platform.domain.action_log import OutboxState, QueuePause
from greenroom_platform.http.totals import Totals

OUTBOX_LATE = 10.0
"""Seconds after which a change that waits in the outbox is worth a word."""
QUEUE_LATE = 120.0
"""Seconds after which a podcast that nobody makes is worth one."""
_MANUAL = "docs/operations.md"


class Trouble(msgspec.Struct, frozen=True, kw_only=True):
    """Something that is ill.

    Arguments:
        what: what it is.
        cost: what it costs now.
        mend: what mends it, or the page of the manual that says so.
        since: when this process noticed it first.
    """

    kind: str
    severity: Severity
    what: str
    cost: str
    mend: str
    since: datetime


class Since:
    """When each trouble was noticed first; it is forgotten when it is over."""

    def __init__(self) -> None:
        self._first: dict[str, datetime] = {}

    def note(self, found: Sequence[Finding], now: datetime) -> list[Trouble]:
        """The troubles of now, the worst first."""
        kinds = {one.kind for one in found}
        self._first = {kind: self._first.get(kind, now) for kind in kinds}
        ordered = sorted(found, key=lambda one: one.severity != "error")
        return [
            Trouble(
                kind=one.kind,
                severity=one.severity,
                what=one.what,
                cost=one.why,
                mend=one.mend,
                since=self._first[one.kind],
            )
            for one in ordered
        ]


def findings(
    health: Mapping[str, str],
    servers: Sequence[ServerLine],
    *,
    outbox: OutboxState | None,
    pause: QueuePause | None,
    waiting: int,
    oldest: float,
    workers: int | None,
    now: datetime,
) -> list[Finding]:
    """What is not well.

    Arguments:
        outbox: None where it is not known.
        waiting: podcasts that are waited for, the oldest for so many seconds.
        workers: that are alive; None where nobody can tell.
    """
    # Each trouble tells since when it is there by itself.
    told = {name: said for name, said in health.items() if name != "since"}
    found = list(verdict(servers, Heard(health=told), None))
    if health.get("status") == "draining":
        found = [one for one in found if one.kind != "unavailable"]
        found.insert(0, warning("draining", "this process ends", "it takes no new requests", "start it again"))
    if outbox is not None and outbox.pending and outbox.oldest is not None:
        age = (now - outbox.oldest).total_seconds()
        if age > OUTBOX_LATE:
            changes = "1 change waits" if outbox.pending == 1 else f"{outbox.pending} changes wait"
            what = f"{changes} in the outbox, the oldest for {span(age)}"
            why = "processes that have not read it may show what was before"
            found.append(warning("outbox", what, why, f"send it now; see {_MANUAL}, What to watch"))
    if pause is not None:
        what = f"the queue of podcasts was paused by {pause.who}: {pause.why}"
        found.append(warning("paused", what, "what is asked for waits", "resume the queue"))
    elif waiting and workers == 0 and oldest > QUEUE_LATE:
        what = f"nobody makes podcasts, and {waiting} {'is' if waiting == 1 else 'are'} waited for"
        found.append(error("no_worker", what, "listeners wait in vain", f"start greenroom work; see {_MANUAL}"))
    return found


def health_sentence(found: Sequence[Finding], servers: Sequence[ServerLine], totals: Totals) -> str:
    """The one sentence of `greenroom status`."""
    samples = [
        MetricSample(READS, {"keyspace": keyspace, "outcome": outcome}, number)
        for (keyspace, outcome), number in totals.reads.items()
    ] + [
        MetricSample(ERRORS, {"keyspace": keyspace, "kind": kind}, number)
        for (keyspace, kind), number in totals.errors.items()
    ]
    said = sentence(found, servers, keyspace_lines(KEYSPACES, samples))
    # An address that it begins with stays as it is.
    return said[:1].upper() + said[1:] if said.partition(" ")[0].isalpha() else said


def span(seconds: float) -> str:
    """A time as people say it, roughly."""
    for unit, size in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
