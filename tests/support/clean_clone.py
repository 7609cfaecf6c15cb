"""A clean clone of this tree, as a stranger has it, with an environment whose installation costs nothing.

It has the files that git knows, as they are here, and nothing else. `.venv` is new and has the packages of this
environment; Greenroom's own modules come from the clone. The installation itself, `make setup` from the locks, is what
`.ci/run` does in a fresh clone on every Python.
"""

from __future__ import annotations

import shutil
import site
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from tests.support.repository import ROOT

_MARKS = (".serve", ".dev", ".bench", ".dist")
"""What make takes for the proof that a lock is installed."""


def clean_clone(directory: Path) -> Path:
    """The clone, in a directory that is not there yet."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, timeout=60)
    if listed.returncode:
        pytest.skip("not a git repository: what belongs to a clone cannot be told")
    for name in listed.stdout.split("\0"):
        if name and (ROOT / name).is_file():
            (directory / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, directory / name)
    environment = directory / ".venv"
    venv.create(environment, symlinks=True)
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    paths = [str(directory / "src"), *site.getsitepackages()]
    (environment / "lib" / version / "site-packages" / "clone.pth").write_text("\n".join(paths))
    program = environment / "bin" / "greenroom"
    program.write_text(f"#!{environment}/bin/python\nfrom greenroom.cli import main\nraise SystemExit(main())\n")
    program.chmod(0o755)
    for name in _MARKS:  # after the files that they are newer than
        (environment / name).touch()
    return directory
