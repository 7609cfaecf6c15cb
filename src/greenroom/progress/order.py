"""The order of a status: it only goes forward, and has two ends.

Pure and total: statuses that others wrote and that we do not know have a rank too, below every other.
"""

from __future__ import annotations


class Order:
    """Steps in their order, the last of them an end, and a failure that may follow any other step.

    Arguments:
        steps: from the first to the one that is the success.
        failure: the other end.
    """

    __slots__ = ("_ends", "_ranks", "failure", "steps")

    def __init__(self, *steps: str, failure: str) -> None:
        self.steps = steps
        self.failure = failure
        self._ranks = {status: rank for rank, status in enumerate((*steps, failure))}
        self._ends = {steps[-1], failure}

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
