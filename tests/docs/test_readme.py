"""The README's example runs as it stands."""

from __future__ import annotations

import re
import subprocess
import sys

from tests.support.repository import ROOT

README = ROOT / "README.md"


def test_the_library_s_example_runs() -> None:
    (example,) = re.findall(r"```python\n(.*?)```", README.read_text("utf-8"), re.DOTALL)
    run = subprocess.run([sys.executable, "-c", example], capture_output=True, text=True, timeout=60)
    assert run.returncode == 0, run.stderr
    assert run.stdout.splitlines() == [
        "Episode(episode_id='e1', title='Episode e1')",
        "Outcome.NEAR",
        "[Episode(episode_id='e1', title='Episode e1'), Episode(episode_id='e2', title='Episode e2')]",
        "u1",
        "None",
    ]


def test_every_file_that_the_readme_links_to_is_there() -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", README.read_text("utf-8")):
        assert (README.parent / target).is_file(), target
