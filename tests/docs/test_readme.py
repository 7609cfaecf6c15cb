"""The README: its example and each command run from a clean clone, and its figures are those that were measured."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bench.__main__ import GROUPS
from release.environments import EXAMPLE_PRINTS, example
from release.registry import NO_ANSWER, registry_variables
from tests.support.clean_clone import clean_clone
from tests.support.patience import wait_for
from tests.support.real_servers import free_port
from tests.support.repository import ROOT
from tests.support.running_service import environment

README = ROOT / "README.md"
TEXT = README.read_text("utf-8")
PERFORMANCE = (ROOT / "docs" / "performance.md").read_text("utf-8")
_COMMAND = re.compile(r"(?:[A-Z]+=\S+ )?(?:make|pip|curl|python|greenroom|\.venv/bin/\S+) ")
LIMIT = 100
"""Seconds for one command."""


def commands() -> list[tuple[str, str]]:
    """Every command of the README, with the comment behind it: indented lines, and what begins like one in the text."""
    blocks = [
        re.match(r"(.+?)(?:\s{2,}# (.*))?$", line.strip()) for line in re.findall(r"^    (.+)$", _prose(), re.MULTILINE)
    ]
    found = [(match[1], match[2] or "") for match in blocks if match is not None]
    inline = [one for one in re.findall(r"`([^`\n]+)`", _prose()) if _COMMAND.match(one)]
    return [*found, *((one, "") for one in inline)]


def _prose() -> str:
    return re.sub(r"```python\n.*?```", "", TEXT, flags=re.DOTALL)


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return clean_clone(tmp_path_factory.mktemp("clone") / "greenroom")


def run(command: str, clone: Path, **env: str) -> str:
    """What a command prints in the clone, as a shell runs it there."""
    done = subprocess.run(
        ["sh", "-c", command], cwd=clone, env=environment(env), capture_output=True, text=True, timeout=LIMIT
    )
    if done.returncode and any(words in done.stderr for words in NO_ANSWER):
        pytest.skip(f"the package registry cannot be reached: {done.stderr.strip().splitlines()[-1]}")
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout


@contextmanager
def served(command: str, clone: Path) -> Iterator[None]:
    """`make serve` as it is typed, until it is interrupted as by Ctrl-C."""
    log = clone / "serve.log"
    with log.open("w") as output:
        process = subprocess.Popen(
            ["sh", "-c", command], cwd=clone, env=environment(), stdout=output, stderr=output, start_new_session=True
        )
        try:
            wait_for(lambda: "http://127.0.0.1:" in log.read_text() or process.poll() is not None)
            assert process.poll() is None, log.read_text()
            yield
            os.killpg(process.pid, signal.SIGINT)
            process.wait(LIMIT)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def test_the_example_runs_where_the_readme_installs_it(clone: Path, tmp_path: Path) -> None:
    (install,) = [command for command, _ in commands() if command.startswith("pip install")]
    # uv for pip: the same requirements, in a fifth of the time.
    fresh = tmp_path / "fresh"
    uv = shlex.join([sys.executable, "-m", "uv"])
    registry = registry_variables()
    run(f"{uv} venv --quiet --python {sys.executable} {fresh}", clone, **registry)
    run(f"{uv} {install.replace('install', f'install --quiet --python {fresh}/bin/python', 1)}", clone, **registry)
    # In a script of its own, outside the clone: the one that it runs is the one that was installed.
    (tmp_path / "example.py").write_text(f"{example()}\nimport greenroom\nprint(greenroom.__file__)\n")
    printed = run(f"cd {tmp_path} && {fresh}/bin/python example.py", clone).splitlines()
    assert printed[:-1] == EXAMPLE_PRINTS
    assert printed[-1].startswith(str(clone))


def test_every_command_runs_in_a_clean_clone(clone: Path) -> None:
    left = dict.fromkeys(command for command, _ in commands() if not command.startswith("pip install"))
    assert {"make serve", "make test", "PORT=8001 make serve"} < set(left)
    # Both in one: port 8000 may be in use here, as the README says of it.
    port = str(free_port())
    with served(f"PORT={port} make serve", clone):
        del left["make serve"], left["PORT=8001 make serve"]
        requests = [(command, says) for command, says in commands() if command.startswith("curl")]
        assert len(requests) == 2
        for command, says in requests:
            answer = run(command.replace("127.0.0.1:8000", f"127.0.0.1:{port}"), clone)
            assert says.rstrip(" …").lower() in answer.lower(), answer[:1000]
            left.pop(command, None)
    assert (clone / "greenroom-data").is_dir()
    # The others take minutes: `make test` runs this test, test_site.py builds the site. Here it is
    # enough that make would start them.
    starts = {"test": r"pytest -n", "docs": r"-m mkdocs build", "bench": rf"-m bench ({'|'.join(GROUPS)})$"}
    for command in left:
        assert command.startswith("make "), f"no test runs {command}"
        told = run(command.replace("make", "make --dry-run", 1), clone)
        assert re.search(starts[command.split()[1]], told, re.MULTILINE), told


def test_every_figure_has_its_command_and_is_the_measured_one() -> None:
    rows = [
        row
        for row in re.findall(r"^\| (.+) \| (.+) \| (.+) \|$", TEXT, re.MULTILINE)
        if row[0] != "measurement, on 2 cores"
    ]
    assert len(rows) == 3
    for _, result, command in rows:
        group = re.fullmatch(r"`make bench ONLY=(\w+)`", command)
        assert group, command
        title, _ = GROUPS[group[1]]
        section = PERFORMANCE.split(f"## {title}\n", 1)[1].partition("\n## ")[0]
        figures = re.findall(r"\d+(?:\.\d+)?", section)
        for number in re.findall(r"\d+(?:\.\d+)?", result):
            digits = len(number.partition(".")[2])
            assert any(f"{float(figure):.{digits}f}" == number for figure in figures), f"{number} of: {result}"


def test_it_is_short_and_every_file_that_it_links_to_is_there() -> None:
    assert len(TEXT.splitlines()) < 120
    problem, code = TEXT.split("\n\n")[1], TEXT.index("```python")
    assert len(problem.splitlines()) <= 4
    assert TEXT[:code].count("\n") < 12
    assert TEXT.count("![") == 3  # listeners, editors, operators
    for target in re.findall(r"\]\(([^)#:]+)", TEXT):
        assert (README.parent / target).exists(), target
