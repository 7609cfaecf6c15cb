"""A Python in which a package is not installed, as far as imports can tell."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence
from importlib.machinery import ModuleSpec
from importlib.metadata import Distribution
from pathlib import Path
from types import ModuleType
from typing import Any

_ABOVE = next(above for above in Path(__file__).parents if (above / "pyproject.toml").is_file())


class _Finder:
    """Asks the finders that were there for every package but one."""

    def __init__(self, absent: str) -> None:
        self._absent = absent
        self._finders: list[Any] = list(sys.meta_path)

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name.partition(".")[0] == self._absent:
            return None
        found = (finder.find_spec(name, path, target) for finder in self._finders)
        return next((spec for spec in found if spec is not None), None)

    def find_distributions(self, *context: Any) -> Iterator[Distribution]:
        # What is installed, its releases too, is looked for on the same way.
        for finder in self._finders:
            if hasattr(finder, "find_distributions"):
                yield from finder.find_distributions(*context)


def forget(package: str) -> None:
    """Let the next import of a package look for it anew."""
    for name in [name for name in sys.modules if name.partition(".")[0] == package]:
        del sys.modules[name]


def hide(package: str) -> None:
    """Let no import find this package from now on, in this process."""
    forget(package)
    sys.meta_path[:] = [_Finder(package)]


def run_without(package: str, code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Python code to its end in a process of its own that cannot find a package."""
    prelude = f"from tests.support.absent import hide; hide({package!r})\n"
    command = [sys.executable, "-c", prelude + code, *arguments]
    return subprocess.run(command, cwd=_ABOVE, capture_output=True, text=True, timeout=60)
