"""Builds the source distribution and, from it, the wheel: what `make dist` runs.

The address of the project is one value, given here. It goes into a copy of pyproject.toml, and so into the source
distribution: whoever builds a wheel from that gets the same links.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import shutil
import tempfile
from pathlib import Path

from setuptools import build_meta

ROOT = Path(__file__).resolve().parents[1]
PARTS = (
    *("src", "docs", "pyproject.toml", "MANIFEST.in", "LICENSE"),
    *("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md"),
)
_LEFT_OUT = shutil.ignore_patterns("__pycache__", "*.egg-info")


def links(address: str) -> str:
    """The `[project.urls]` of an address; empty without one."""
    if not address:
        return ""
    if not address.startswith(("https://", "http://")) or '"' in address:
        raise SystemExit(f"URL={address}: invalid address; write it like https://forge.example/greenroom")
    root = address.rstrip("/")
    named = {
        "Homepage": root,
        "Documentation": f"{root}/blob/main/docs/architecture.md",
        "Changelog": f"{root}/blob/main/CHANGELOG.md",
        "Issues": f"{root}/issues",
    }
    return "\n[project.urls]\n" + "".join(f'{name} = "{link}"\n' for name, link in named.items())


def with_whole_links(text: str, address: str) -> str:
    """A README whose links lead from wherever it is shown; without an address they stay as they are."""
    if not address:
        return text
    root = address.rstrip("/")

    def whole(match: re.Match[str]) -> str:
        target = match[1]
        return f"]({root}/{'raw' if target.endswith(('.png', '.svg')) else 'blob'}/main/{target})"

    return re.sub(r"\]\((?!#|[a-z]+:)([^)]+)\)", whole, text)


def build(output: Path, address: str) -> tuple[Path, Path]:
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
            file.write(links(address))
        readme = tree / "README.md"
        readme.write_text(with_whole_links(readme.read_text("utf-8"), address), "utf-8")
        with contextlib.chdir(tree):
            source = output / build_meta.build_sdist(os.fspath(output))
        shutil.unpack_archive(source, scratch)
        # From the source distribution: a file that it lacks is then missing in the wheel too, where the test sees it.
        with contextlib.chdir(Path(scratch, source.name.removesuffix(".tar.gz"))):
            return source, output / build_meta.build_wheel(os.fspath(output))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=ROOT / "dist", help="the directory of both files")
    parser.add_argument("--url", default="", help="the public address of the project's repository")
    options = parser.parse_args()
    for path in build(options.output.resolve(), options.url):
        print(path)


if __name__ == "__main__":
    main()
