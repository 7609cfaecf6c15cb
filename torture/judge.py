"""The whole judgement of a history: what was read, what became of sessions and statuses, how long, how often."""

from __future__ import annotations

from collections.abc import Sequence

from torture.bounds import check_bounds
from torture.checker import Violation, check
from torture.follow_checker import check_follows
from torture.history import Emptied, RolledBack
from torture.journal import Happening
from torture.session_checker import check_sessions

APART = "sessions"
"""What the sessions' server is called where it is another than the caches'."""


def judge(
    history: Sequence[Happening], loader: float, *, cluster: bool = False, replicas: bool = False, apart: bool = False
) -> list[Violation]:
    """Everything in a history that breaks a promise; see `check`.

    Arguments:
        apart: whether the sessions have a server of their own.
    """
    caches = [one for one in history if not (isinstance(one, RolledBack) and one.node == APART)]
    sessions = [one for one in history if not (apart and isinstance(one, RolledBack | Emptied) and one.node != APART)]
    return [
        *check(caches, loader, cluster=cluster, replicas=replicas),
        *check_bounds(history),
        *check_follows(history),
        *check_sessions(sessions),
    ]
