"""The example of the page on threads prints what it should."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from tests.support.repository import ROOT


def test_the_example_of_the_page_on_threads_runs(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "sync.md").read_text("utf-8")
    (program,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    file = tmp_path / "threads.py"
    file.write_text(program)
    run = subprocess.run([sys.executable, str(file)], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert run.returncode == 0, run.stderr
    printed = ["Episode(show_id='s1', number=7, title='Seven')", "Seven, again None", "1 ['tea']"]
    assert run.stdout.splitlines() == printed
