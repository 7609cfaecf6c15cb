"""`make dist`: the wheel has every file of the packages and the links of the one address, and it runs installed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

import greenroom
from tests.support.repository import ROOT

ADDRESS = "https://forge.example/greenroom"
DIST = ROOT / ".ci" / "dist.py"


def built(output: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(DIST), "--output", str(output), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=100)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("dist")
    run = built(output, "--url", f"{ADDRESS}/")
    assert run.returncode == 0, run.stderr
    assert [path.suffix for path in sorted(output.iterdir())] == [".whl", ".gz"]
    return next(output.glob("*.whl"))


def test_the_wheel_has_every_file_of_the_packages(wheel: Path) -> None:
    tracked = subprocess.run(["git", "ls-files", "src"], cwd=ROOT, capture_output=True, text=True, timeout=20)
    if tracked.returncode:
        pytest.skip("not a git repository: what belongs to the packages cannot be told")
    names = zipfile.ZipFile(wheel).namelist()
    packed = {f"src/{name}" for name in names if ".dist-info/" not in name}
    there = {path for path in tracked.stdout.split() if (ROOT / path).is_file()}
    assert packed == there
    assert {Path(name).suffix for name in packed} >= {
        ".py",
        ".lua",
        ".sql",
        ".ndjson",
        ".js",
        ".css",
        ".html",
        ".typed",
    }


def test_the_links_come_from_the_one_address(wheel: Path, tmp_path: Path) -> None:
    (name,) = [name for name in zipfile.ZipFile(wheel).namelist() if name.endswith(".dist-info/METADATA")]
    metadata = Parser().parsestr(zipfile.ZipFile(wheel).read(name).decode())
    assert metadata["Version"] == greenroom.__version__
    links = dict(link.split(", ") for link in metadata.get_all("Project-URL", []))
    assert links["Homepage"] == ADDRESS
    assert set(links) == {"Homepage", "Documentation", "Changelog", "Issues"}
    assert all(link.startswith(ADDRESS) for link in links.values())
    # Relative links and images lead nowhere on a package index.
    targets = re.findall(r"\]\(([^)]+)\)", str(metadata.get_payload()))
    assert f"{ADDRESS}/blob/main/docs/guarantees.md" in targets
    assert f"{ADDRESS}/raw/main/docs/images/page-wide.png" in targets
    assert all(one.startswith(("https://", "#")) for one in targets), targets
    assert "[project.urls]" not in (ROOT / "pyproject.toml").read_text("utf-8")
    run = built(tmp_path, "--url", "forge.example")
    assert (run.returncode, "URL=forge.example: invalid address" in run.stderr) == (1, True)


def test_an_installed_wheel_runs(wheel: Path, tmp_path: Path) -> None:
    zipfile.ZipFile(wheel).extractall(tmp_path)  # a pure wheel is installed by unpacking it
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    for command in (["-m", "greenroom", "definitions"], ["-c", "import greenroom; print(greenroom.__file__)"]):
        run = subprocess.run(
            [sys.executable, *command], env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=60
        )
        assert run.returncode == 0, run.stderr
    assert run.stdout.startswith(str(tmp_path))
