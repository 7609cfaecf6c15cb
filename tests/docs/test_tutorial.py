"""The tutorial, done as it stands: its programs, its commands, and what they print."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.patience import wait_for
from tests.support.real_servers import free_port, listens
from tests.support.repository import ROOT

PAGE = (ROOT / "docs" / "tutorial.md").read_text("utf-8")
BIN = Path(sys.executable).parent
_FENCE = re.compile(r'^```(\w+)(?: title="([^"]+)")?\n(.*?)^```$', re.MULTILINE | re.DOTALL)
_BEFORE = ("git clone", "mkdir", "cd ", "python3 -m venv", ".venv/bin/pip ")
"""Commands of the installation, which the environment of the tests has already. A stranger's run is in no test."""
_SAID = "the database is asked"
_PYTEST_PLUGINS = "-p no:valkey -p no:anyio -p no:faker -p no:schemathesis -p no:celery -p no:cacheprovider"


class Terminals:
    """The directory of the reader, with a server in the first terminal and commands in the second one."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._port = free_port()
        self._log = directory / "first-terminal"
        self._server: subprocess.Popen[bytes] | None = None
        # A module that is changed within a second, to one of the same length, would be taken from its bytecode.
        self._environment = os.environ | {"PYTHONDONTWRITEBYTECODE": "1", "PYTEST_ADDOPTS": _PYTEST_PLUGINS}

    def run(self, command: str) -> str:
        """What a command prints; a server is started in place of the one that runs."""
        command = command.replace(".venv/bin/", f"{BIN}/").replace("127.0.0.1:8000", f"127.0.0.1:{self._port}")
        if "/uvicorn " in command:
            self._start(command)
            return ""
        run = subprocess.run(
            command, shell=True, cwd=self._directory, env=self._environment, capture_output=True, text=True, timeout=60
        )
        assert run.returncode == 0, (command, run.stdout, run.stderr)
        return run.stdout

    def said(self) -> list[str]:
        """What the program has printed in the first terminal."""
        return [line for line in self._log.read_text().splitlines() if line.startswith(_SAID)]

    def stop(self) -> None:
        """Ctrl-C in the first terminal."""
        if self._server is not None:
            self._server.send_signal(signal.SIGINT)
            self._server.wait(30)
            self._server = None

    def _start(self, command: str) -> None:
        self.stop()
        with self._log.open("wb") as log:
            self._server = subprocess.Popen(
                [*command.split(), "--port", str(self._port)],
                cwd=self._directory,
                env=self._environment,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        workers = 2 if "--workers 2" in command else 1
        wait_for(lambda: self._log.read_text().count("Application startup complete") == workers)
        wait_for(lambda: listens(self._port))  # what it says comes first


@pytest.fixture
def terminals(tmp_path: Path) -> Iterator[Terminals]:
    terminals = Terminals(tmp_path)
    yield terminals
    terminals.stop()


def test_the_tutorial_prints_what_it_says(terminals: Terminals, tmp_path: Path) -> None:
    began = time.perf_counter()
    done = 0
    for language, title, text in _FENCE.findall(PAGE):
        if language == "console":
            for command, expected in re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", text, re.MULTILINE):
                if not command.startswith(_BEFORE):
                    same(terminals.run(command), expected, command)
                    done += 1
        elif title == "the first terminal":
            assert terminals.said() == text.splitlines()
        elif title == "the last function of shop.py":
            program = (tmp_path / "shop.py").read_text()
            beginning = program.rpartition('\n@app.put("/products/{sku}")')[0]
            (tmp_path / "shop.py").write_text(f"from asyncio import to_thread\n{beginning}\n{text}")
        elif title.endswith(".py"):
            (tmp_path / title).write_text(text)
        else:
            raise AssertionError(f"nothing runs the block {title or text!r}")
    assert done >= 20
    assert time.perf_counter() - began < 15 * 60, "it says 15 minutes"


def same(printed: str, expected: str, command: str) -> None:
    """Whether a command printed what the page shows, where `…` stands for anything in a line."""
    pattern = re.escape(expected.strip()).replace("…", ".*")
    # curl ends JSON without a line's end; HTTP's lines end with one more character.
    assert re.fullmatch(pattern, printed.replace("\r", "").strip()), f"{command}\n{printed}\nis not\n{expected}"
