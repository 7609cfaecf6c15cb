"""Builds the source distribution and, from it, the wheel.

The address of the project is one value, given here. It goes into a copy of pyproject.toml and of the README, and so
into the source distribution: whoever builds a wheel from that gets the same links. The repository keeps relative ones.
docs/decisions/0108-links-are-made-absolute-in-the-distribution.md
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PARTS = (
    *("src", "docs", "deploy", "examples", "pyproject.toml", "MANIFEST.in", "LICENSE", "NOTICE"),
    *("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md"),
)
_LEFT_OUT = shutil.ignore_patterns("__pycache__", "*.egg-info")
_RELATIVE = re.compile(r"\]\((?!#|[a-z]+:)([^)]+)\)")


class Unusable(ValueError):
    """An address that can lead nobody anywhere."""


def checked(address: str) -> str:
    """The address as links begin with it; empty without one."""
    if address and (not re.fullmatch(r"https?://[^\s\"<>]+", address)):
        raise Unusable(f"URL={address}: invalid address; write it like https://forge.example/greenroom")
    return address.rstrip("/")


def links(root: str) -> str:
    """The `[project.urls]` of an address; empty without one."""
    if not root:
        return ""
    named = {
        "Homepage": root,
        "Documentation": f"{root}/tree/main/docs",
        "Changelog": f"{root}/blob/main/CHANGELOG.md",
        "Issues": f"{root}/issues",
    }
    return "\n[project.urls]\n" + "".join(f'{name} = "{link}"\n' for name, link in named.items())


def with_whole_links(text: str, root: str) -> str:
    """A README whose links lead from wherever it is shown; without an address they stay as they are."""
    if not root:
        return text

    def whole(match: re.Match[str]) -> str:
        target = match[1]
        kind = "raw" if target.endswith((".png", ".svg")) else "tree" if (ROOT / target).is_dir() else "blob"
        return f"]({root}/{kind}/main/{target})"

    return _RELATIVE.sub(whole, text)


def build(output: Path, root: str) -> tuple[Path, Path]:
    """The paths of the source distribution and the wheel, both in `output`."""
    output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        tree = Path(scratch, "tree")
        tree.mkdir()
        for part in PARTS:
            if (ROOT / part).is_dir():
                shutil.copytree(ROOT / part, tree / part, ignore=_LEFT_OUT)
            else:
                shutil.copy(ROOT / part, tree / part)
        with (tree / "pyproject.toml").open("a", encoding="utf-8") as file:
            file.write(links(root))
        readme = tree / "README.md"
        readme.write_text(with_whole_links(readme.read_text("utf-8"), root), "utf-8")
        source = _built("sdist", tree, output)
        with tarfile.open(source) as archive:
            archive.extraction_filter = getattr(tarfile, "data_filter", None)  # Python 3.11.4 and later have it
            archive.extractall(scratch)
        # From the source distribution: a file that it lacks is then missing in the wheel too, where the checks see it.
        return source, _built("wheel", Path(scratch, source.name.removesuffix(".tar.gz")), output)


def _built(kind: str, tree: Path, output: Path) -> Path:
    """The file that the build tool makes. It is run apart, since it says a line about each file."""
    program = f"import sys; from setuptools import build_meta; print(build_meta.build_{kind}(sys.argv[1]))"
    run = subprocess.run(
        [sys.executable, "-c", program, os.fspath(output)], cwd=tree, capture_output=True, text=True, check=False
    )
    if run.returncode:
        raise SystemExit(f"the {kind} cannot be built: {run.stderr.strip()}")
    return output / run.stdout.splitlines()[-1]
