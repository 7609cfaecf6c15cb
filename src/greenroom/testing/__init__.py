"""For users: what a part of one's own must pass to take the place of ours. Needs pytest."""

import pytest

pytest.register_assert_rewrite("greenroom.testing.records_changes", "greenroom.testing.records_contract")

from greenroom.testing.records_contract import RecordsContract  # noqa: E402  (after its asserts are registered)

__all__ = ["RecordsContract"]
