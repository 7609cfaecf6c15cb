"""One version: that of `__version__`, which the metadata take over, and of the changelog."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from datetime import date

from packaging.version import InvalidVersion, Version

from release.build import ROOT

_SECTION = re.compile(r"^## \[([^\]]+)\](?: - (\S+))?$", re.MULTILINE)


def version() -> str:
    """The `__version__` of the sources, read and not imported: what is installed here may be another."""
    text = (ROOT / "src" / "greenroom" / "__init__.py").read_text("utf-8")
    found = re.search(r'^__version__ = "([^"]+)"$', text, re.MULTILINE)
    return found[1] if found else ""


def version_faults(current: str, changelog: str, *, final: bool, today: date) -> Iterator[str]:
    """What is wrong with the version of a distribution.

    Prevents: 0.1.0 is released · changes follow under "Unreleased" · somebody builds 0.1.0 again, from other contents ·
    two installations of one number behave differently.

    Arguments:
        final: whether it is to be published.
    """
    try:
        parsed = Version(current)
    except InvalidVersion:
        yield f"__version__: {current!r} is no version; write it like 0.2.0 or 0.2.0.dev0"
        return
    parts = _SECTION.split(changelog)[1:]
    sections = {name: (day, text.strip()) for name, day, text in zip(parts[::3], parts[1::3], parts[2::3], strict=True)}
    if "Unreleased" not in sections:
        yield 'CHANGELOG.md: it has no section "## [Unreleased]"'
    _, unreleased = sections.pop("Unreleased", (None, ""))
    released = []
    for name, (day, _) in sections.items():
        try:
            released.append(Version(name))
            if not day or date.fromisoformat(day) > today:
                raise ValueError
        except ValueError:
            yield f"CHANGELOG.md: the section [{name}] has no version or no day; write ## [0.2.0] - {today.isoformat()}"
    if released != sorted(released, reverse=True):
        yield "CHANGELOG.md: the newest version does not come first"
    newest = max(released, default=Version("0"))
    if parsed < newest:
        yield f"__version__: {current} is older than {newest}, which CHANGELOG.md has already"
    if unreleased and parsed == newest:
        yield f"__version__: {current} is released, and CHANGELOG.md has changes since; take the next one, with .dev0"
    if not final:
        return
    if unreleased:
        yield f'CHANGELOG.md: there are entries under "Unreleased"; move them to a section [{current}]'
    if parsed.is_devrelease:
        yield f"__version__: {current} is no release; leave out .dev"
    if parsed != newest:
        yield f"CHANGELOG.md: it has no section [{current}]"


def tree_faults(current: str) -> Iterator[str]:
    """Why the tree cannot be released as it is."""

    def git(*arguments: str) -> str:
        return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()

    if changed := git("status", "--porcelain"):
        yield f"the tree has changes that are not committed: {changed.splitlines()[0]}"
    tag = git("rev-parse", "--quiet", "--verify", f"v{current}^{{commit}}")
    if tag and tag != git("rev-parse", "HEAD"):
        yield f"the tag v{current} is at another commit: {tag}"
