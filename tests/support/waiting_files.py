"""Which files of tests the workers of pytest-xdist are given: of those that mostly wait, not too many at a time.

Workers that all wait leave the machine idle: for a server that comes back, or for a time that must pass. The order of
files holds with `--no-loadscope-reorder`.
"""

from __future__ import annotations

from typing import Any

from xdist.scheduler import LoadFileScheduling

WAITING = (
    *("outage", "cluster", "e2e", "integration/frameworks", "crash", "integration/studio", "integration/cli"),
    *("integration/accounts", "integration/deployment"),
)
"""Where the files are that mostly wait. Those that compute least go first: beside the browsers, which compute most."""
LONGEST_FIRST = *WAITING, "browser", "integration/storage", "docs", "http", "integration"
"""Where those are that take longest: begun last, one of them would be waited for by idle workers."""


def rank(path: str) -> int:
    """Where a file stands in the order in which files are given out.

    Arguments:
        path: below `tests/`.
    """
    return next((n for n, name in enumerate(LONGEST_FIRST) if path.startswith(f"{name}/")), len(LONGEST_FIRST))


def waits(path: str) -> bool:
    """Whether a file mostly waits."""
    return rank(path.removeprefix("tests/")) < len(WAITING)


class SpreadFiles(LoadFileScheduling):
    """Gives half of the workers files that wait, as long as there are any, and the others what is left."""

    def _assign_work_unit(self, node: Any) -> None:
        waiting = sum(
            any(waits(path) and not all(tests.values()) for path, tests in files.items())
            for one, files in self.assigned_work.items()
            if one is not node
        )
        next_waits = waiting < len(self.nodes) // 2
        path = next((path for path in self.workqueue if waits(path) is next_waits), None)
        if path is not None:
            self.workqueue.move_to_end(path, last=False)
        super()._assign_work_unit(node)
