"""The programs of the site's pages run as they stand, and print what the pages say."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import pytest

from tests.support.real_servers import Server
from tests.support.repository import ROOT

PAGES = (
    "index.md",
    "groups.md",
    "outbox.md",
    "languages.md",
    "concepts/outage.md",
    *(f"migration/{name}.md" for name in ("aiocache", "cashews", "django-redis", "fastapi-cache", "flask-session")),
)
"""Those whose programs have a title, and what they print after them."""
_FENCE = re.compile(r'^```(\w+) title="([^"]+)"\n(.*?)^```$', re.MULTILINE | re.DOTALL)
_PRINTS = " prints"
_BEFORE = "before.py"
"""A program of the library that a page moves from."""


class Program(NamedTuple):
    """A program of a page, and the lines that it is said to print."""

    page: str
    name: str
    text: str
    printed: str


def programs(page: str) -> list[Program]:
    blocks = {title: text for _, title, text in _FENCE.findall((ROOT / "docs" / page).read_text("utf-8"))}
    assert blocks, page
    return [
        Program(page, name, text, blocks[name + _PRINTS]) for name, text in blocks.items() if name + _PRINTS in blocks
    ]


ALL = [program for page in PAGES for program in programs(page)]
HERE = [program for program in ALL if program.name != _BEFORE]
THERE = [program for program in ALL if program.name == _BEFORE]
BY_ITSELF = re.compile(r"greenroom\.sync|settings\.configure")
"""What stays with its process: rooms of threads until its end, and the settings of Django."""


@pytest.mark.parametrize("program", HERE, ids=lambda program: f"{program.page}:{program.name}")
def test_a_program_prints_what_its_page_says(
    program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / program.name
    file.write_text(program.text)
    if BY_ITSELF.search(program.text):
        command = [sys.executable, program.name]
        run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
        assert run.returncode == 0, run.stderr
        assert run.stdout == program.printed
    else:
        # In this process, which has imported already what they import.
        monkeypatch.chdir(tmp_path)
        module = ModuleType("__main__")
        monkeypatch.setitem(sys.modules, "__main__", module)
        exec(compile(program.text, program.name, "exec"), module.__dict__)
        assert capsys.readouterr().out == program.printed


@pytest.mark.parametrize("program", THERE, ids=lambda program: program.page)
def test_a_program_from_before_a_move_prints_what_its_page_says(
    program: Program, tmp_path: Path, valkey: Server
) -> None:
    # In a process of its own: these libraries leave connections open, and one of them has Django's settings.
    (tmp_path / program.name).write_text(program.text.replace("6379", str(valkey.port)))
    command = [sys.executable, program.name]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert run.returncode == 0, run.stderr
    assert run.stdout == program.printed


def test_every_program_before_a_move_is_run_or_names_its_versions() -> None:
    for page in PAGES:
        if page.startswith("migration/"):
            text = (ROOT / "docs" / page).read_text("utf-8")
            assert page in {program.page for program in THERE} or re.search(r"It was tried with \S+ \d", text), page
