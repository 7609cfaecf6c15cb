"""The page on the installation: its commands run, its extras are those there are, and the other pages lead to it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from release.environments import extras
from release.registry import NO_ANSWER
from tests.support.clean_clone import clean_clone
from tests.support.repository import ROOT
from tests.support.running_service import environment

DOCS = ROOT / "docs"
PAGE = (DOCS / "install.md").read_text("utf-8")
_COMMAND = re.compile(r"^\$ (.+)$", re.MULTILINE)
_WITHOUT_REGISTRY = (*NO_ANSWER, "NewConnectionError", "Max retries exceeded", "Read timed out")
"""Words of pip and uv where the registry cannot be reached."""


def test_every_extra_has_its_line() -> None:
    assert set(re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE)) == set(extras())


def test_every_page_that_installs_leads_to_the_ways_to_install() -> None:
    installs = []
    for page in DOCS.rglob("*.md"):
        text = page.read_text("utf-8")
        if "pip install 'greenroom" in text and page.name != "install.md" and "decisions" not in page.parts:
            installs.append(page.name)
            assert re.search(r"\]\((?:\.\./)?install\.md\)", text), page
    assert len(installs) >= 20


def test_the_commands_with_a_clone_install_what_runs(tmp_path: Path) -> None:
    clean_clone(tmp_path / "greenroom")
    project = tmp_path / "project"
    project.mkdir()
    from_index, *rest = PAGE.split("```console\n")[1:]
    venv, index = _COMMAND.findall(from_index)
    # Its packages are here already; `greenroom` itself is what is looked for. The index need not have it.
    assert index == ".venv/bin/pip install 'greenroom[embedded]'"
    _run(venv, project)
    clone, *commands = [command for block in rest for command in _COMMAND.findall(block)]
    assert clone.endswith(" ../greenroom")
    for command in commands:
        _run(command, project)
        (place,) = _run(".venv/bin/python -c 'import greenroom; print(greenroom.__file__)'", project).splitlines()
        assert place.startswith(str(project / ".venv"))
    assert len(list(project.glob("greenroom-*.whl"))) == 1


def _run(command: str, directory: Path) -> str:
    path = f"{Path(sys.executable).parent}:/usr/bin:/bin"
    run = subprocess.run(
        ["sh", "-c", command],
        cwd=directory,
        env=environment({"PATH": path}),
        capture_output=True,
        text=True,
        timeout=100,
    )
    if run.returncode and any(words in run.stderr for words in _WITHOUT_REGISTRY):
        pytest.skip(f"the package registry cannot be reached: {run.stderr.strip().splitlines()[-1]}")
    assert run.returncode == 0, run.stderr
    return run.stdout
