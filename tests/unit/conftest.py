"""Tests of this folder start nothing: they run in seconds wherever Python and the library are."""

from __future__ import annotations

from pathlib import Path

import pytest

STARTED = {"server", "valkey", "lasting", "steady", "cluster", "service", "serve", "greenroom_room"}
"""Fixtures that start a process."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents and (used := STARTED & set(getattr(item, "fixturenames", ()))):
            raise pytest.UsageError(f"{item.nodeid} uses {', '.join(sorted(used))}: it belongs to another folder")
