"""Judges who followed a podcast's status. What is promised:

- no status is told before it was written, and none that is further back than one told before;
- each status that lasts, or a later one, is told at once: where nothing fails, within a second of the end of its
  invalidation, which is far less than followers wait before they look by themselves.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from itertools import pairwise

from torture.checker import ALLOWED, Violation
from torture.history import Drop, Event, Write
from torture.podcast_history import Followed
from torture.trouble import MARGIN, Trouble

AT_ONCE = 1.0 + MARGIN
"""Seconds after which a follower has been told: an allowance for the machine, and for a load of the status."""


def check_follows(history: Iterable[Event]) -> list[Violation]:
    """Everything that followers were told wrongly or too late."""
    events = list(history)
    trouble = Trouble(events)
    written: dict[tuple[str, int], float] = {}
    drops: defaultdict[str, list[Drop]] = defaultdict(list)
    for one in events:
        if isinstance(one, Write):
            written[one.key, one.version] = min(one.began, written.get((one.key, one.version), one.began))
        elif isinstance(one, Drop) and one.acknowledged:
            drops[one.key].append(one)
    found = []
    for one in events:
        if isinstance(one, Followed):
            reason = _too_early(one, written) or _back(one) or _late(one, drops[one.key], trouble) or _failed(one)
            if reason:
                found.append(Violation(one, reason))
    return found


def _too_early(followed: Followed, written: dict[tuple[str, int], float]) -> str:
    for moment, version in followed.seen:
        if written.get((followed.key, version), moment + 1) > moment:
            return f"version {version} is told before it was written"
    return ""


def _back(followed: Followed) -> str:
    for (_, before), (_, after) in pairwise(followed.seen):
        if after < before:
            return f"version {after} is told after {before}"
    return ""


def _late(followed: Followed, drops: list[Drop], trouble: Trouble) -> str:
    for drop in drops:
        due = max(drop.ended, followed.began) + AT_ONCE
        if due > followed.ended or trouble.before(min(drop.began, followed.began), due):
            continue
        if not any(moment <= due and version >= drop.version for moment, version in followed.seen):
            return f"version {drop.version} is not told within {AT_ONCE:.2f} s"
    return ""


def _failed(followed: Followed) -> str:
    return f"following fails with {followed.error}" if followed.error and followed.error not in ALLOWED else ""
