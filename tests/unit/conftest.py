"""Tests of this folder start nothing: they run in seconds wherever Python and the library are."""

from __future__ import annotations

from pathlib import Path

import pytest

STARTED = {"server", "valkey", "lasting", "steady", "cluster", "service", "serve", "greenroom_room"}
"""Fixtures that start a process."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if (used := STARTED & set(getattr(item, "fixturenames", ()))) and here in item.path.parents:
            raise pytest.UsageError(f"{item.nodeid} uses {', '.join(sorted(used))}: it belongs to another folder")
