"""Build the distribution in dist/, check its files, and try the wheel on every Python and with every extra.

It uploads nothing: it prints what is to be uploaded.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import subprocess
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from greenroom.testing.server import running_server
from release import contents, environments, versions
from release.build import ROOT, Unusable, build, checked


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit status: 1 where something is wrong."""
    parser = argparse.ArgumentParser(prog="python -m release", description=__doc__)
    parser.add_argument("--output", type=Path, default=ROOT / "dist", help="the directory of both files")
    parser.add_argument("--url", default="", help="the public address of the project's repository")
    parser.add_argument("--final", action="store_true", help="what is built is to be published: more must hold")
    parser.add_argument("--ready", action="store_true", help="look only whether the tree can be released")
    parser.add_argument("--files", action="store_true", help="build and check the files; try no environment")
    parser.add_argument("--extra", action="append", help="try these extras only; (none) is the bare library")
    options = parser.parse_args(arguments)
    try:
        root = checked(options.url)
    except Unusable as error:
        print(error, file=sys.stderr)
        return 1
    if told(_before(root, final=options.final, partly=options.files or bool(options.extra))):
        return 1
    if options.ready:
        return 0
    for old in options.output.glob("greenroom-*"):
        old.unlink()
    source, wheel = build(options.output.resolve(), root)
    faults = told(_of_files(source, wheel, root, indexed=not options.files))
    if not options.files:
        faults += told(_of_environments(wheel, options.extra or [environments.BARE, *environments.extras()]))
    if faults:
        print(f"\n{faults} faults: nothing of this may be published", file=sys.stderr)
        return 1
    for path in (source, wheel):
        print(f"{path.name}  {path.stat().st_size:,} bytes  sha256 {hashlib.sha256(path.read_bytes()).hexdigest()}")
    if options.final:
        print("\nEverything holds. What remains is yours to do:\n")
        print(f"    git tag v{versions.version()} && git push origin v{versions.version()}")
        print(f"    {sys.executable} -m twine upload {source} {wheel}")
    return 0


def told(faults: Iterator[str]) -> int:
    """Print faults as they are found; how many there were."""
    count = 0
    for fault in faults:
        count += 1
        print(f"FAULT  {fault}", file=sys.stderr, flush=True)
    return count


def _before(root: str, *, final: bool, partly: bool) -> Iterator[str]:
    current = versions.version()
    changelog = (ROOT / "CHANGELOG.md").read_text("utf-8")
    yield from versions.version_faults(current, changelog, final=final, today=datetime.now(UTC).date())
    if final:
        yield from versions.tree_faults(current)
        if partly:
            yield "--final: it tries every environment; leave out --files and --extra"
        if not root:
            yield "URL: missing; give the public address of the repository, which the links of a package begin with"


def _of_files(source: Path, wheel: Path, root: str, *, indexed: bool) -> Iterator[str]:
    current = versions.version()
    for fault in contents.wheel_faults(
        contents.wheel_files(wheel), size=wheel.stat().st_size, version=current, root=root
    ):
        yield f"{wheel.name}: {fault}"
    for fault in contents.source_faults(contents.source_files(source), size=source.stat().st_size, version=current):
        yield f"{source.name}: {fault}"
    if importlib.util.find_spec("twine"):
        command: list[str | Path] = [sys.executable, "-m", "twine", "check", "--strict", source, wheel]
        run = subprocess.run(command, capture_output=True, text=True, check=False)
        if run.returncode:
            yield f"twine check --strict: {run.stdout.strip()} {run.stderr.strip()}"
    elif indexed:
        yield "twine is not installed: the metadata are not checked as an index does it; run `make dist`"


def _of_environments(wheel: Path, extras: list[str]) -> Iterator[str]:
    on = environments.pythons()
    found = []
    with running_server() as server:
        for trial in environments.trials(wheel, server.address, on, extras):
            found.append(trial)
            print(f"{trial.python.version}  {trial.extra}: {trial.cell}", flush=True)
            if trial.step:
                yield f"Python {trial.python.version}, {trial.extra}: {trial.step}: {trial.reason}"
    print(f"\n{environments.table(found)}\n", flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
