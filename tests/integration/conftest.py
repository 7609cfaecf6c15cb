"""What holds for all tests here: a busy machine is no failure. What a server that fails costs is for `tests/outage`."""

from __future__ import annotations

import pytest

from tests.support.patience import be_patient


@pytest.fixture(autouse=True)
def patience(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.node.get_closest_marker("own_budget") is None:
        be_patient(monkeypatch)
