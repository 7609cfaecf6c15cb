"""The example of the page on stores prints what it should."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from tests.support.repository import ROOT


def test_the_example_of_the_page_on_stores_runs(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "stores.md").read_text("utf-8")
    (program,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    file = tmp_path / "stores.py"
    file.write_text(program)
    run = subprocess.run([sys.executable, str(file)], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert run.returncode == 0, run.stderr
    basket, visits, *rates = run.stdout.splitlines()
    assert (basket, visits) == ("Basket(items=('tea', 'milk'))", "1 11")
    assert rates[:2] == ["go on"] * 2
    assert rates[2].startswith("429, Retry-After: ")
