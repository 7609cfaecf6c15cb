"""The programs of the site's pages run as they stand, and print what the pages say."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support.repository import ROOT

PAGES = ("index.md",)
"""Those whose programs have a title, and what they print after them."""
_FENCE = re.compile(r'^```(\w+) title="([^"]+)"\n(.*?)^```$', re.MULTILINE | re.DOTALL)
_PRINTS = " prints"


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


@pytest.mark.parametrize("program", ALL, ids=lambda program: f"{program.page}:{program.name}")
def test_a_program_prints_what_its_page_says(program: Program, tmp_path: Path) -> None:
    (tmp_path / program.name).write_text(program.text)
    command = [sys.executable, program.name]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert (run.returncode, run.stdout) == (0, program.printed), run.stderr
