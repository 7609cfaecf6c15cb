"""The locks hold for every Python and platform that the README and the classifiers name.

uv resolves them for another machine than this one; `pip --python-version` takes the markers from the running Python and
would miss what only another one needs.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from release.registry import NO_ANSWER, registry_variables

REPOSITORY = next(above for above in Path(__file__).parents if (above / "pyproject.toml").is_file())
REQUIREMENTS = REPOSITORY / "requirements"
LINUX = ("x86_64-manylinux_2_28", "aarch64-manylinux_2_28")
MACOS = "aarch64-apple-darwin"
PATCHES = ("3.11.3",)
"""Releases at which a requirement begins or ends, beside the first release of each line."""
_CLASSIFIER = "Programming Language :: Python :: "
_PIN = re.compile(r"^([a-z0-9-]+)==(\S+)", re.MULTILINE)


def promised() -> list[str]:
    """The lines of Python that the classifiers name, as `3.11`, in their order."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text("utf-8"))["project"]
    return [line.removeprefix(_CLASSIFIER) for line in project["classifiers"] if line.startswith(_CLASSIFIER)]


VERSIONS = (*(f"{line}.0" for line in promised()), *PATCHES)


def refusal(directory: Path, *arguments: str) -> str:
    """What uv says against an installation into an empty directory; empty where nothing speaks against it."""
    target = ("--python", sys.executable, "--target", str(directory))
    run = subprocess.run(
        [sys.executable, "-m", "uv", "pip", "install", "--dry-run", *target, *arguments],
        env=os.environ | registry_variables(),
        capture_output=True,
        text=True,
        timeout=100,
    )
    if run.returncode and any(words in run.stderr for words in NO_ANSWER):
        pytest.skip(f"the package registry cannot be reached: {run.stderr.strip().splitlines()[-1].strip()}")
    return run.stderr if run.returncode else ""


def known(directory: Path, *arguments: str) -> str:
    """As `refusal`, without asking for what uv knows already: that is nine tenths of its work."""
    return refusal(directory, *arguments, "--offline") and refusal(directory, *arguments)


@pytest.fixture(scope="session")
def _registry(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Skips every test of the registry after one wait, where it cannot be reached."""
    assert not refusal(tmp_path_factory.mktemp("probe"), "--no-deps", "hiredis")


@pytest.mark.usefixtures("_registry")
@pytest.mark.parametrize(
    ("lock", "platform"),
    [("serve", platform) for platform in (*LINUX, MACOS)]
    + [("dev", platform) for platform in LINUX]
    + [("docs", LINUX[0])],
)
def test_a_lock_installs_on_every_python_that_is_named(lock: str, platform: str, tmp_path: Path) -> None:
    options = ["--require-hashes", "--only-binary", ":all:", "--python-platform", platform]
    options += ["--requirements", str(REQUIREMENTS / f"{lock}.lock")]

    def refused(version: str) -> str:
        return known(tmp_path, *options, "--python-version", version)

    # The first asks the registry for each package: the others find in uv's cache what it has been told just now.
    told = {VERSIONS[0]: refusal(tmp_path, *options, "--python-version", VERSIONS[0])}
    with ThreadPoolExecutor() as pool:
        told |= zip(VERSIONS[1:], pool.map(refused, VERSIONS[1:]), strict=True)
    assert not {version: text for version, text in told.items() if text}


def test_the_locks_agree_on_every_version() -> None:
    # They are installed one after another into one environment: a later one would replace what an earlier one pinned.
    versions: dict[str, set[str]] = {}
    for lock in sorted(REQUIREMENTS.glob("*.lock")):
        for name, version in _PIN.findall(lock.read_text("utf-8")):
            versions.setdefault(name, set()).add(version)
    assert len(versions) > 80
    assert not {name: found for name, found in versions.items() if len(found) > 1}


def test_the_locks_name_no_registry() -> None:
    for lock in sorted(REQUIREMENTS.glob("*.lock")):
        text = lock.read_text("utf-8")
        assert not re.findall(r"^\s*-.*", re.sub(r"^    --hash=sha256:[0-9a-f]{64}.*$", "", text, flags=re.MULTILINE))
        assert "://" not in text


def test_the_readme_names_the_pythons_of_the_classifiers() -> None:
    lines = promised()
    assert f"Python {lines[0]} to {lines[-1]}" in (REPOSITORY / "README.md").read_text("utf-8")
