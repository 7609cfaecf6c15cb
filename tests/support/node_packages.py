"""The packages that `make node` installs, for tests that skip where they are not."""

from __future__ import annotations

import shutil

import pytest

from tests.support.repository import ROOT

MODULES = ROOT / "requirements" / "node" / "node_modules"


def node_program(name: str) -> str:
    """The path of a program of a package; the test is skipped where there is no Node, or no such program."""
    path = MODULES / ".bin" / name
    if shutil.which("node") is None or not path.exists():
        pytest.skip("Node or its packages are not installed; `make node` installs the packages where npm is")
    return str(path)
