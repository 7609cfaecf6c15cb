"""What operators have done: kept in the record, so that it survives a restart and says the same in every process.

An action is written down before it is done, and its outcome afterwards. Prevents: the queue is emptied · the process
dies before it writes · nobody can tell who has done it. `http/control/acting` does both.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Protocol, runtime_checkable

import msgspec

from greenroom_platform.models import Timestamp

ACTIONS_KEPT = 1000
"""Actions that are kept; the oldest goes with each further one."""
WHY_MAX = 500
"""Characters of a reason."""
BEGUN = "begun"
"""The outcome of an action that has none yet, or whose process died meanwhile."""


class Action(msgspec.Struct, frozen=True, kw_only=True):
    """Something that an operator has done.

    Arguments:
        number: its place in the log; 0 before it is there.
        who: the name that the operator signed in with.
        kind: what was done, as `drop_key`.
        target: what it was done to, in words.
        why: the reason given.
        outcome: what became of it.
    """

    number: int = 0
    at: Timestamp
    who: str
    kind: str
    target: str
    why: str
    outcome: str = BEGUN


class QueuePause(msgspec.Struct, frozen=True, kw_only=True):
    """The queue of podcasts is paused: what is asked for waits, and what is being made is made."""

    since: Timestamp
    who: str
    why: str


class OutboxState(msgspec.Struct, frozen=True, kw_only=True):
    """The outbox: how many changes have not been acknowledged, and when the oldest of them was committed."""

    pending: int
    oldest: datetime | None


class ActionLog(Protocol):
    """What operators keep in a record: their log, the pause of the queue, and a look at the outbox.

    Raises, from any method: what `Records` does.
    """

    async def begin(self, action: Action) -> int:
        """Write an action down, and forget those beyond `ACTIONS_KEPT`; returns its number."""

    async def end(self, number: int, outcome: str) -> None:
        """Write down what became of it; nothing where it is forgotten already."""

    async def newest(self, limit: int) -> tuple[Action, ...]:
        """The last actions, the newest first; what cannot be read is left out."""

    async def pause(self) -> QueuePause | None:
        """The pause of the queue; None while podcasts are made."""

    async def set_pause(self, pause: QueuePause | None) -> None:
        """Pause the queue, or end its pause. A pause that stands already stays: who began it, and why, is known."""

    async def outbox(self) -> OutboxState:
        """How long the outbox is."""


@runtime_checkable
class KeepsActions(Protocol):
    """A record that keeps what operators do; `Records` in other regards."""

    @property
    def actions(self) -> ActionLog:
        """Its log."""


def log_of(records: object) -> ActionLog | None:
    """The log of a record; None where it keeps none."""
    return records.actions if isinstance(records, KeepsActions) else None


async def is_paused(log: ActionLog | None) -> bool:
    """Whether operators have paused the queue of podcasts; never where the record keeps no log."""
    return log is not None and await log.pause() is not None


def named(parts: Mapping[str, object]) -> str:
    """Parts of a key as the log has them."""
    return " ".join(f"{name}={value}" for name, value in parts.items())
