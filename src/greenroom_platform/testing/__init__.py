"""For users: what a part of one's own must pass to take the place of ours. Needs pytest."""

import pytest

_CONTRACTS = (
    "change_source_contract",
    "records_actions",
    "records_caches",
    "records_changes",
    "records_conditions",
    "records_contract",
    "records_edits",
    "records_elsewhere",
    "records_search",
    "tasks_contract",
    "tasks_control",
    "tasks_recordings",
    "tasks_requests",
)

pytest.register_assert_rewrite(*(f"greenroom_platform.testing.{name}" for name in _CONTRACTS))

# After their asserts are registered:
from greenroom_platform.testing.change_source_contract import ChangeSourceContract  # noqa: E402
from greenroom_platform.testing.records_contract import RecordsContract  # noqa: E402
from greenroom_platform.testing.tasks_contract import TasksContract  # noqa: E402

__all__ = ["ChangeSourceContract", "RecordsContract", "TasksContract"]
