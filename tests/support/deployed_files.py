"""The files of `deploy/`, and the tools that check them."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.repository import ROOT

DEPLOY = ROOT / "deploy"
METRIC = re.compile(r"\bgreenroom_[a-z_]+")
LABELLED = re.compile(r'(outcome|kind|event)=(~?)"([^"]+)"')


def needs(tool: str, package: str) -> pytest.MarkDecorator:
    """Skips, visibly, where a tool of the system is missing."""
    reason = f"{tool} is not installed (Debian: {package}); .ci/run installs it"
    return pytest.mark.skipif(shutil.which(tool) is None, reason=reason)


def checked(*command: object, cwd: Path | None = None) -> str:
    """What a checker prints; it must find nothing."""
    run = subprocess.run([*map(str, command)], cwd=cwd, capture_output=True, text=True, timeout=100)
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout + run.stderr


def ours(name: str) -> Path:
    """A tool of this environment."""
    return Path(sys.executable).with_name(name)
