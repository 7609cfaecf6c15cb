"""Each command starts beside a Kubernetes Service named `greenroom`, and says in one line what it passes over."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.running_service import Serve, command
from tests.unit.test_service_links import LINKS

REMEDY = "enableServiceLinks: false"


def told(text: str) -> list[str]:
    """The lines that name the remedy."""
    return [line for line in text.splitlines() if REMEDY in line]


@pytest.mark.parametrize("arguments", [["definitions"], ["acl"], ["load", "--data-dir", "{}", "-"]])
def test_a_command_beside_a_service_of_its_name_says_so_once(tmp_path: Path, arguments: list[str]) -> None:
    run = command(*(word.format(tmp_path) for word in arguments), env=LINKS)
    assert run.returncode == 0, run.stderr
    assert len(told(run.stderr)) == 1


@pytest.mark.parametrize("workers", ["1", "2"])
def test_the_service_starts_beside_a_service_of_its_name(serve: Serve, workers: str) -> None:
    service = serve("--workers", workers, "--sample", "off", env=LINKS)
    assert json.loads(service.client.get("/health/ready").content)["status"] == "ok"
    (line,) = told(service.output())
    assert "GREENROOM_" in line
    assert "10.0.0.1" not in service.output()
