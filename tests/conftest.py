"""What holds for all tests: patience with a busy machine, the markers, and the figures printed at the end."""

from __future__ import annotations

import gc
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from tests.support.waiting_files import SpreadFiles, rank

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
    config.addinivalue_line(
        "markers", "own_budget: a call takes no longer than the engine allows, however busy the machine"
    )
    config.addinivalue_line("markers", "own_limits: connections and leases have the product's times, calls have not")
    config.addinivalue_line("markers", "time_intensive: of the suites that dogpile.cache ships")
    config.addinivalue_line("markers", "once_on_cluster: one of its other parameters is enough there")


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    ranks = {path: rank(path.relative_to(TESTS).as_posix()) for path in {item.path for item in items}}
    items.sort(key=lambda item: ranks[item.path])


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    return SpreadFiles(config, log) if config.getvalue("dist") == "loadfile" else None


def pytest_terminal_summary(terminalreporter: Any) -> None:
    # Properties travel with the reports, so that the workers of pytest-xdist can tell too.
    for report in terminalreporter.getreports("passed"):
        for name, line in report.user_properties:
            if name == FIGURE:
                terminalreporter.write_line(line)
