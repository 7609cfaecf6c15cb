"""What holds for all tests here: a busy machine is no failure. What a server that fails costs is for `tests/outage`."""

from __future__ import annotations

from tests.support.patience import patience as patience
