"""The order of a status: it only goes forward, and has two ends.

Pure and total: statuses that others wrote and that we do not know have a rank too, below every other.
"""

from __future__ import annotations

from greenroom.errors import InvalidInput

_STEPS = "give each step once, as text: Order('queued', 'running', 'done', failure='failed')"


class Order:
    """Steps in their order, the last of them an end, and a failure that may follow any other step.

    Arguments:
        steps: from the first to the one that is the success.
        failure: the other end.

    Raises:
        InvalidInput: for no steps, a status that is named twice, and one that is no text.
    """

    __slots__ = ("_ends", "_ranks", "failure", "steps")

    def __init__(self, *steps: str, failure: str) -> None:
        if not steps:
            raise InvalidInput("order", "has no steps", _STEPS)
        statuses = (*steps, failure)
        for number, status in enumerate(statuses):
            if not isinstance(status, str) or not status:
                raise InvalidInput("order", f"{status!r:.80} is not a status", _STEPS)
            if status in statuses[:number]:
                raise InvalidInput("order", f"names {status!r:.80} twice", _STEPS)
        self.steps = steps
        self.failure = failure
        self._ranks = {status: rank for rank, status in enumerate((*steps, failure))}
        self._ends = {steps[-1], failure}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Order) and (self.steps, self.failure) == (other.steps, other.failure)

    def __hash__(self) -> int:
        return hash((self.steps, self.failure))

    def __repr__(self) -> str:
        return f"Order({', '.join(map(repr, self.steps))}, failure={self.failure!r})"

    def __contains__(self, status: object) -> bool:
        return status in self._ranks

    def rank(self, status: str) -> int:
        """The place of a status, from 0; -1 for an unknown one."""
        return self._ranks.get(status, -1)

    def ended(self, status: str) -> bool:
        """Whether nothing follows a status."""
        return status in self._ends

    def furthest(self, shown: str, reported: str) -> str:
        """What is to be shown when `reported` comes after `shown`: never a step back, and nothing after an end."""
        return reported if not self.ended(shown) and self.rank(reported) >= self.rank(shown) else shown
