"""The page on the installation: its commands run, its extras are those there are, and the other pages lead to it."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import venv
from importlib.metadata import distribution
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
    made, index = _COMMAND.findall(from_index)
    # Its packages are here already; `greenroom` itself is what is looked for. The index need not have it.
    assert index == ".venv/bin/pip install 'greenroom[embedded]'"
    assert made == "python3 -m venv .venv"
    _make_environment(project / ".venv")
    clone, *commands = [command for block in rest for command in _COMMAND.findall(block)]
    assert clone.endswith(" ../greenroom")
    assert [command.split()[1] for command in commands] == ["install", "wheel", "install"]
    for command in commands:
        # In an isolated environment once: what the build needs is no other thing the second time.
        _run(command, project, PIP_COMPILE="0", **({"PIP_NO_BUILD_ISOLATION": "0"} if " wheel " in command else {}))
        (place,) = _run(".venv/bin/python -c 'import greenroom; print(greenroom.__file__)'", project).splitlines()
        assert place.startswith(str(project / ".venv"))
    assert len(list(project.glob("greenroom-*.whl"))) == 1


def _make_environment(directory: Path) -> None:
    """What `python3 -m venv` makes, in a tenth of the time: with pip and setuptools as they are in the tests' own."""
    venv.create(directory, symlinks=True)
    (place,) = directory.glob("lib/*/site-packages")
    for name in ("pip", "setuptools"):
        for file in distribution(name).files or ():
            if ".." not in file.parts and Path(str(file.locate())).is_file():
                (place / file).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(str(file.locate()), place / file)
    program = directory / "bin" / "pip"
    program.write_text(f"#!{directory}/bin/python\nfrom pip._internal.cli.main import main\nraise SystemExit(main())\n")
    program.chmod(0o755)


def _run(command: str, directory: Path, **env: str) -> str:
    path = f"{Path(sys.executable).parent}:/usr/bin:/bin"
    run = subprocess.run(
        ["sh", "-c", command],
        cwd=directory,
        env=environment({"PATH": path} | env),
        capture_output=True,
        text=True,
        timeout=100,
    )
    if run.returncode and any(words in run.stderr for words in _WITHOUT_REGISTRY):
        pytest.skip(f"the package registry cannot be reached: {run.stderr.strip().splitlines()[-1]}")
    assert run.returncode == 0, run.stderr
    return run.stdout
